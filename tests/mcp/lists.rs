//! What an agent sees of tools.

use std::collections::BTreeMap;

use common::{gateway_at, soon};
use easyremote::auth::DialOptions;
use easyremote::{Client, Node, Role};
use serde_json::{Value, json};

use crate::agent::{Agent, REVISIONS, Revision, Served};
use crate::offered::{Model, functions};

async fn tools(agent: &mut Agent) -> BTreeMap<String, Value> {
    let answer = agent.ask("tools/list", json!({})).await;
    let tools = answer["result"]["tools"].as_array().unwrap_or_else(|| panic!("{answer}")).clone();
    tools.into_iter().map(|tool| (tool["name"].as_str().unwrap().to_owned(), tool)).collect()
}

#[tokio::test]
async fn tools_are_the_functions_that_are_marked() {
    let served = Served::start().await;
    for revision in REVISIONS {
        let mut agent = served.agent(revision).await;
        let names: Vec<_> = tools(&mut agent).await.into_keys().collect();
        let expected = [
            "Greeter.greet",
            "Greeter.v1-small.greet",
            "Model.layers",
            "Model.v1-small.layers",
            "Odd.name-2_x",
            "add",
            "count",
            "declared",
            "divide",
            "double",
            "echo",
            "forever",
            "long",
            "many",
            "nap",
            "panics",
            "parsed",
            "quiet",
            "shown",
            "tenant",
            "wait",
        ]
        .map(str::to_owned);
        assert_eq!(names, expected, "{revision:?}");
        agent.leave().await;
    }
}

#[tokio::test]
async fn a_tool_is_described_by_its_function() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    let tools = tools(&mut agent).await;
    let add = &tools["add"];
    assert_eq!(add["description"], "Adds two numbers.");
    assert_eq!(add["annotations"], json!({ "idempotentHint": true }));
    let input = &add["inputSchema"];
    assert_eq!((&input["type"], &input["required"]), (&json!("object"), &json!(["a", "b"])));
    assert_eq!(input["properties"]["a"]["description"], "The first number.");
    assert_eq!(input["additionalProperties"], false);
    assert_eq!(add["outputSchema"]["properties"]["result"]["minimum"], i64::MIN);
    assert_eq!(tools["divide"].get("annotations"), None);
    for (name, tool) in &tools {
        let output = &tool["outputSchema"];
        assert_eq!(
            (&output["type"], &tool["inputSchema"]["type"]),
            (&json!("object"), &json!("object"))
        );
        let named = if output["properties"].get("items").is_some() { "items" } else { "result" };
        assert_eq!(output["anyOf"][0]["required"][0], named, "{name}");
        assert!(tool["description"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
}

#[tokio::test]
async fn an_identity_has_the_tools_that_it_may_call() {
    let state = tempfile::tempdir().unwrap();
    let gateway = gateway_at("127.0.0.1:0").state_dir(state.path());
    let gateway = gateway.token(Role::Client, "web").token(Role::Client, "ops");
    let gateway = gateway.may_call("web", ["add", "Model.*"]).may_call("ops", ["hidden"]);
    let gateway = soon(gateway.serve()).await.unwrap();
    let dial = || DialOptions::new().state_dir(state.path());
    let node = Node::builder(gateway.local_addr()).dial(dial()).functions(functions());
    let _node = soon(node.state(Model(1)).serve()).await.unwrap();
    for (name, expected) in [("web", &["Model.layers", "add"][..]), ("ops", &[])] {
        let ticket = gateway.ticket_of(Role::Client, name).unwrap();
        let client = soon(Client::connect(ticket)).await.unwrap();
        let mut agent = Agent::of(client, Revision::Before2026).await;
        let names: Vec<_> = tools(&mut agent).await.into_keys().collect();
        assert_eq!(names, expected, "{name}");
        for other in ["double", "hidden"] {
            let call = json!({ "name": other, "arguments": { "numbers": 1 } });
            let refused = agent.ask("tools/call", call).await;
            assert_eq!(refused["error"]["code"], -32602, "{refused}");
            assert_eq!(refused["error"]["data"]["executed"], "No");
        }
    }
}

#[tokio::test]
async fn a_tool_that_comes_later_is_listed_and_called() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    assert_eq!(
        agent.call("add", json!({ "a": 1, "b": 2 })).await["structuredContent"]["result"],
        3
    );
    let late = easyremote::functions![late];
    let _late = served.world.node(late).await;
    assert_eq!(agent.call("late", json!({})).await["structuredContent"]["result"], "late");
    assert!(tools(&mut agent).await.contains_key("late"));
}

/// Comes late.
#[easyremote::remote(tool)]
fn late() -> String {
    "late".to_owned()
}

#[tokio::test]
async fn there_is_one_page_of_tools() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::Before2026).await;
    let answer = agent.ask("tools/list", json!({ "cursor": "2" })).await;
    assert_eq!(answer["error"]["code"], -32602);
}
