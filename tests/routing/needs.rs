//! `needs = ".."`: only nodes with the tags of a function get its calls.

use common::{World, soon};
use easyremote::{ErrorKind, functions, remote};

#[remote(needs = "gpu")]
async fn generate(#[ctx] ctx: &easyremote::Context) -> String {
    ctx.node().to_owned()
}

#[remote(needs = "gpu, eu")]
fn stored(#[ctx] ctx: &easyremote::Context) -> String {
    ctx.node().to_owned()
}

#[remote]
fn anywhere() {}

async fn node(world: &World, id: &str, tags: &[&str]) -> easyremote::Node {
    let functions = functions![generate, stored, anywhere];
    let node = world.node_builder().id(id).functions(functions);
    let node = tags.iter().fold(node, |node, tag| node.tag(*tag));
    soon(node.serve()).await.unwrap()
}

#[tokio::test]
async fn only_nodes_with_the_tag_get_calls() {
    let world = World::start().await;
    let _plain = node(&world, "plain", &[]).await;
    let _gpu = node(&world, "gpu-1", &["gpu"]).await;
    let _both = node(&world, "gpu-eu", &["eu", "gpu", "fast"]).await;
    let client = world.client().await;
    let mut seen = [0, 0];
    for _ in 0..64 {
        match soon(generate::call(&client)).await.unwrap().as_str() {
            "gpu-1" => seen[0] += 1,
            "gpu-eu" => seen[1] += 1,
            other => panic!("`{other}` has no GPU"),
        }
        assert_eq!(soon(stored::call(&client)).await.unwrap(), "gpu-eu");
    }
    // Of 64 choices between two, one is never made once in 2^63 runs.
    assert!(seen[0] > 0 && seen[1] > 0, "{seen:?}");
}

#[tokio::test]
async fn the_error_says_which_node_lacks_which_tag() {
    let world = World::start().await;
    let _plain = node(&world, "plain", &[]).await;
    let _gpu = node(&world, "gpu-1", &["gpu"]).await;
    let client = world.client().await;
    let error = soon(stored::call(&client)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    let expected = "no node that offers `stored` has the tags that it needs: node `plain` lacks \
                    the tags `gpu`, `eu`, node `gpu-1` lacks the tag `eu`; give a node a tag";
    assert!(error.to_string().starts_with(expected), "{error}");
    // A call for one node is told about that one.
    let error = soon(generate::call(&client).on("plain")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    assert!(error.to_string().contains("needs: node `plain` lacks the tag `gpu`;"), "{error}");
    soon(anywhere::call(&client).on("plain")).await.unwrap();
}

#[tokio::test]
async fn a_call_can_wait_for_a_node_with_the_tag() {
    let world = World::start().await;
    let _plain = node(&world, "plain", &[]).await;
    let client = world.client().await;
    let call = tokio::spawn(generate::call(&client).wait_for_node());
    common::until(|| world.gateway.stats().calls > 0).await;
    let _gpu = node(&world, "gpu-1", &["gpu"]).await;
    assert_eq!(soon(call).await.unwrap().unwrap(), "gpu-1");
}

#[tokio::test]
async fn the_list_of_functions_names_the_nodes_that_can_run_them() {
    let world = World::start().await;
    let _plain = node(&world, "plain", &[]).await;
    let _gpu = node(&world, "gpu-1", &["gpu"]).await;
    let client = world.client().await;
    let functions = soon(client.functions()).await.unwrap();
    let found: Vec<_> =
        functions.iter().map(|it| (&*it.name, it.needs.join(" "), it.nodes.join(" "))).collect();
    assert_eq!(
        found,
        [
            ("anywhere", String::new(), "gpu-1 plain".to_owned()),
            ("generate", "gpu".to_owned(), "gpu-1".to_owned()),
            ("stored", "gpu eu".to_owned(), String::new()),
        ]
    );
}
