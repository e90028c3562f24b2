//! Who may offer and who may call what.

use common::offered::add;
use common::{found_in, soon, until};
use easyremote::gateway::GatewayBuilder;
use easyremote::node::Functions;
use easyremote::{
    CallError, Client, Context, Error, ErrorKind, Executed, Gateway, Node, Role, functions, remote,
};
use futures::StreamExt;
use serde_json::json;
use tempfile::TempDir;

#[remote]
fn sub(a: i64, b: i64) -> i64 {
    a - b
}

#[remote(stream)]
fn count() -> impl Iterator<Item = u64> {
    0..3
}

/// Calls `sub` as the node that it runs on.
#[remote]
async fn negate(#[ctx] ctx: &Context, n: i64) -> Result<i64, String> {
    sub::call(&ctx.client(), 0, n).await.map_err(|error| error.to_string())
}

struct World {
    gateway: Gateway,
    _state: TempDir,
}

impl World {
    /// A gateway with these identities for nodes and clients each.
    async fn start(
        identities: &[&str],
        configure: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut builder = common::gateway_at("127.0.0.1:0").state_dir(state.path());
        for identity in identities {
            builder = builder.token(Role::Node, *identity).token(Role::Client, *identity);
        }
        Self { gateway: soon(configure(builder).serve()).await.unwrap(), _state: state }
    }

    async fn node(&self, token: &str, id: &str, functions: Functions) -> Result<Node, Error> {
        let ticket = self.gateway.ticket_of(Role::Node, token).unwrap();
        soon(Node::builder(ticket).id(id).functions(functions).serve()).await
    }

    async fn client(&self, token: &str) -> Client {
        let ticket = self.gateway.ticket_of(Role::Client, token).unwrap();
        soon(Client::connect(ticket)).await.unwrap()
    }
}

fn is_denied(error: &Error, text: &str) {
    assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::No));
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn a_client_may_call_what_a_rule_allows_and_nothing_else() {
    let world = World::start(&["a", "b"], |gateway| {
        gateway.may_call((Role::Client, "a"), ["add", "cou*"]).may_call(Role::Node, ["sub"])
    });
    let world = world.await;
    let node = world.node("a", "n", functions![add, sub, count, negate]).await.unwrap();
    let (a, b) = (world.client("a").await, world.client("b").await);
    assert_eq!(soon(add::call(&a, 1, 2)).await.unwrap(), 3);
    assert_eq!(soon(count::call(&a).count()).await, 3);
    let error = soon(sub::call(&a, 1, 2)).await.unwrap_err();
    is_denied(&error, "client `a` may not call `sub` at this gateway");
    let error = soon(a.call_json("sub", json!([1, 2]))).await.unwrap_err();
    is_denied(error.remote().unwrap(), "client `a` may not call `sub` at this gateway");
    let error = soon(count::call(&b).next()).await.unwrap().unwrap_err();
    is_denied(&error, "client `b` may not call `count` at this gateway");
    // Waiting for a node does not help.
    let error = soon(sub::call(&a, 1, 2).wait_for_node()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(node.stats().calls, 2);
    // Admins are above the rules.
    let admin = soon(Client::connect(world.gateway.ticket(Role::Admin))).await.unwrap();
    assert_eq!(soon(sub::call(&admin, 1, 2)).await.unwrap(), -1);
    // And nodes are held to theirs.
    assert_eq!(soon(negate::call(&admin, 7)).await.unwrap(), -7);
}

#[remote(operator)]
fn odd(n: &u64) -> bool {
    n % 2 == 1
}

#[remote(operator)]
fn squared(n: u64) -> u64 {
    n * n
}

#[tokio::test]
async fn a_client_may_apply_the_operators_that_a_rule_allows() {
    let world = World::start(&["a"], |gateway| gateway.may_call("a", ["count", "odd"])).await;
    let node = world.node("a", "n", functions![count, odd, squared]).await.unwrap();
    let client = world.client("a").await;
    assert_eq!(soon(count::call(&client).through(odd::with()).count()).await, 1);
    let denied = "client `a` may not call `squared` at this gateway";
    let mut items = count::call(&client).through(odd::with()).through(squared::with());
    is_denied(&soon(items.next()).await.unwrap().unwrap_err(), denied);
    let json = client.stream_json("count", json!([])).wait_for_node();
    let mut json = json.through("squared", json!([]));
    let Some(Err(CallError::Remote(error))) = soon(json.next()).await else { panic!("it may") };
    is_denied(&error, denied);
    assert_eq!(node.stats().calls, 1);
}

#[tokio::test]
async fn a_function_calls_with_the_rights_of_its_node() {
    let world = World::start(&["a"], |gateway| gateway.may_call(Role::Client, ["*"])).await;
    let _node = world.node("a", "n", functions![sub, negate]).await.unwrap();
    let client = world.client("a").await;
    assert_eq!(soon(sub::call(&client, 1, 2)).await.unwrap(), -1);
    let error = soon(negate::call(&client, 7)).await.unwrap_err();
    let CallError::Function(text) = error else { panic!("{error:?}") };
    assert_eq!(text, "node `n` (`a`) may not call `sub` at this gateway");
}

#[tokio::test]
async fn lists_hold_what_their_reader_may_call() {
    let world = World::start(&["a", "b"], |gateway| gateway.may_call("a", ["add", "missing"]));
    let world = world.await;
    let _both = world.node("a", "both", functions![add, sub]).await.unwrap();
    let _other = world.node("a", "other", functions![count]).await.unwrap();
    let (a, b) = (world.client("a").await, world.client("b").await);
    let names = async |client: &Client| {
        let functions = soon(client.functions()).await.unwrap();
        let nodes = soon(client.nodes()).await.unwrap();
        (
            functions.into_iter().map(|function| function.name).collect::<Vec<_>>(),
            nodes.into_iter().map(|node| (node.id, node.functions)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        names(&a).await,
        (vec!["add".to_owned()], vec![("both".to_owned(), vec!["add".to_owned()])])
    );
    assert_eq!(names(&b).await, (vec![], vec![]));
    // Nor do errors name more.
    let error = soon(a.call_json("missing", json!([]))).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("`add`") && !text.contains("sub") && !text.contains("count"), "{text}");
    let admin = soon(Client::connect(world.gateway.ticket(Role::Admin))).await.unwrap();
    assert_eq!(names(&admin).await.0, ["add", "count", "sub"]);
    assert_eq!(world.gateway.nodes().len(), 2);
}

#[tokio::test]
async fn statistics_are_for_those_who_are_named() {
    let world = World::start(&["a", "monitor"], |gateway| {
        gateway.may_call("*", ["*"]).may_call("monitor", ["easyremote.stats"])
    });
    let world = world.await;
    let stats = soon(world.client("monitor").await.gateway_stats()).await.unwrap();
    assert_eq!(stats.clients, 1);
    let error = soon(world.client("a").await.gateway_stats()).await.unwrap_err();
    is_denied(&error, "client `a` may not ask for `easyremote.stats`, which is for admins");
}

#[tokio::test]
async fn a_function_belongs_to_the_identity_that_offered_it_first() {
    let world = World::start(&["pool#1", "pool#2", "rogue"], |gateway| gateway).await;
    let first = world.node("pool#1", "p-1", functions![add]).await.unwrap();
    let second = world.node("pool#2", "p-2", functions![add]).await.unwrap();
    let error = world.node("rogue", "r", functions![add, sub]).await.unwrap_err();
    let text = "node `r` (`rogue`) may not offer `add`: it belongs to `pool`, which was the first \
                to offer it; rules made with `may_offer` at the gateway can allow both";
    is_denied(&error, text);
    let rogue = world.node("rogue", "r", functions![sub]).await.unwrap();
    // Not even when nobody offers it now.
    soon(first.shutdown()).await;
    soon(second.shutdown()).await;
    until(|| world.gateway.nodes().len() == 1).await;
    soon(rogue.shutdown()).await;
    until(|| world.gateway.nodes().is_empty()).await;
    is_denied(&world.node("rogue", "r", functions![add]).await.unwrap_err(), text);
    // But when the owner is let in no more.
    assert!(world.gateway.revoke(Role::Node, "pool#1"));
    is_denied(&world.node("rogue", "r", functions![add]).await.unwrap_err(), text);
    assert!(world.gateway.revoke(Role::Node, "pool#2"));
    world.node("rogue", "r", functions![add]).await.unwrap();
}

#[tokio::test]
async fn nodes_without_names_of_their_own_share_functions() {
    let state = tempfile::tempdir().unwrap();
    let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve();
    let gateway = soon(gateway).await.unwrap();
    let local = Node::builder(gateway.local_addr()).dial(found_in(state.path()));
    let _local = soon(local.functions(functions![add]).serve()).await.unwrap();
    let _far = soon(Node::serve(gateway.ticket(Role::Node), functions![add])).await.unwrap();
    assert_eq!(gateway.nodes().len(), 2);
}

#[tokio::test]
async fn with_rules_a_node_offers_what_they_allow_and_shares_it() {
    let world = World::start(&["gpu-1", "gpu-2", "rogue"], |gateway| {
        gateway.may_offer((Role::Node, "gpu-*"), ["add", "count"]).may_offer("gpu-1", ["su*"])
    });
    let world = world.await;
    let _one = world.node("gpu-1", "g-1", functions![add, sub]).await.unwrap();
    let _two = world.node("gpu-2", "g-2", functions![add]).await.unwrap();
    let error = world.node("gpu-2", "g-3", functions![add, sub, negate]).await.unwrap_err();
    is_denied(&error, "node `g-3` (`gpu-2`) may not offer `negate`, `sub` at this gateway");
    let error = world.node("rogue", "r", functions![add]).await.unwrap_err();
    is_denied(&error, "node `r` (`rogue`) may not offer `add` at this gateway");
    assert_eq!(world.gateway.nodes().len(), 2);
    assert_eq!(world.gateway.stats().refused, 2);
}

#[tokio::test]
async fn another_identity_does_not_take_over_the_id_of_a_node() {
    let world = World::start(&["a", "b"], |gateway| gateway).await;
    let mine = world.node("a", "one", functions![add]).await.unwrap();
    let error = world.node("b", "one", functions![sub]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(error.to_string().contains("is connected already"), "{error}");
    assert_eq!(mine.stats().gateways, 1);
    assert_eq!(world.gateway.nodes()[0].functions, ["add"]);
}

#[tokio::test]
async fn a_pattern_that_cannot_match_is_refused_when_the_gateway_starts() {
    let state = tempfile::tempdir().unwrap();
    let builder = common::gateway_at("127.0.0.1:0").state_dir(state.path());
    for builder in
        [builder.clone().may_call("a", ["*.embed"]), builder.clone().may_offer("gpu-*-1", ["add"])]
    {
        let error = soon(builder.serve()).await.unwrap_err();
        assert!(error.to_string().contains("a `*` may only be at its end"), "{error}");
    }
}
