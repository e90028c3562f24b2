//! Calls of tools: results, errors, items, and what cancels them.

use common::gate::Gate;
use common::{Probe, soon};
use serde_json::{Value, json};

use crate::agent::{Agent, REVISIONS, Revision, Served};

fn content(result: &Value) -> &Value {
    let structured = &result["structuredContent"];
    // For agents that know nothing of structured content.
    let text = result["content"][0]["text"].as_str().unwrap();
    assert_eq!(&serde_json::from_str::<Value>(text).unwrap(), structured);
    structured
}

fn result_of(result: &Value) -> &Value {
    assert_eq!(result["isError"], false, "{result}");
    content(result)
}

fn error_of(result: &Value) -> &Value {
    assert_eq!(result["isError"], true, "{result}");
    content(result)
}

#[tokio::test]
async fn tools_of_every_kind_are_called() {
    let served = Served::start().await;
    for revision in REVISIONS {
        let mut agent = served.agent(revision).await;
        for (tool, arguments, expected) in [
            ("add", json!({ "b": 2, "a": 1 }), json!(3)),
            ("divide", json!({ "a": 1, "b": 2 }), json!(0.5)),
            ("double", json!({ "numbers": 21 }), json!(42)),
            ("declared", json!({ "a": 7 }), json!(7)),
            ("Odd.name-2_x", json!({}), Value::Null),
            ("Model.layers", json!({}), json!(1)),
            ("Model.v1-small.layers", json!({}), json!(12)),
            ("Greeter.greet", json!({ "name": "Ann" }), json!("hello Ann from 1 layers")),
            ("Greeter.v1-small.greet", json!({ "name": "Bo" }), json!("hello Bo from 12 layers")),
        ] {
            let result = agent.call(tool, arguments).await;
            assert_eq!(*result_of(&result), json!({ "result": expected }), "{tool} {revision:?}");
        }
        let call = json!({ "name": "Odd.name-2_x" });
        let without = agent.ask("tools/call", call).await;
        assert_eq!(*result_of(&without["result"]), json!({ "result": null }));
        agent.leave().await;
    }
}

#[tokio::test]
async fn errors_say_what_happened_and_whether_the_function_ran() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    let own = agent.call("divide", json!({ "a": 1, "b": 0 })).await;
    let own = error_of(&own);
    assert_eq!((&own["kind"], &own["executed"]), (&json!("Function"), &json!("Yes")));
    assert_eq!(own["error"], json!({ "ByZero": { "dividend": 1.0 } }));
    for (tool, arguments, kind, executed) in [
        ("add", json!({ "a": 1 }), "BadArguments", "No"),
        ("add", json!({ "a": 1, "b": "2" }), "BadArguments", "No"),
        ("add", json!({ "a": 1, "b": 2, "c": 3 }), "BadArguments", "No"),
        ("panics", json!({}), "Panicked", "Yes"),
        ("long", json!({ "bytes": 5_000_000 }), "TooLarge", "Yes"),
    ] {
        let result = agent.call(tool, arguments).await;
        let error = error_of(&result);
        assert_eq!(
            (&error["kind"], &error["executed"]),
            (&json!(kind), &json!(executed)),
            "{error}"
        );
        assert!(!error["message"].as_str().unwrap().is_empty());
        assert_eq!(error["node"].is_null(), kind == "TooLarge", "{error}");
    }
    served.node.shutdown().await;
    let gone =
        agent.ask("tools/call", json!({ "name": "add", "arguments": { "a": 1, "b": 2 } })).await;
    let (error, result) = (&gone["error"]["data"], &gone["result"]["structuredContent"]);
    let told = if error.is_null() { result } else { error };
    assert_eq!(told["executed"], "No", "{gone}");
}

#[tokio::test]
async fn what_is_no_tool_is_an_error_of_the_protocol() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    for name in ["hidden", "nothing", "", "easyremote.nodes", "Model:v1/small.layers", "a\u{1b}b"] {
        let answer = agent.ask("tools/call", json!({ "name": name, "arguments": {} })).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        assert_eq!(answer["error"]["data"]["kind"], "NoSuchFunction");
    }
    let answer = agent.ask("prompts/list", json!({})).await;
    assert!(answer["error"].is_object() || answer["result"]["prompts"] == json!([]), "{answer}");
}

#[tokio::test]
async fn items_arrive_as_they_are_made_and_together_at_the_end() {
    let served = Served::start().await;
    for revision in REVISIONS {
        let mut agent = served.agent(revision).await;
        let gates: Vec<_> = (0..4).map(|_| Gate::closed()).collect();
        let keys: Vec<_> = gates.iter().map(|gate| gate.key).collect();
        let call = json!({
            "name": "count",
            "arguments": { "to": 4, "gates": keys },
            "_meta": { "progressToken": "items" },
        });
        let id = agent.send("tools/call", call).await;
        for (n, gate) in (1..).zip(&gates) {
            // The next item does not exist yet.
            gate.open();
            let message = agent.read().await.unwrap();
            assert_eq!(message["method"], "notifications/progress", "{message}");
            let params = &message["params"];
            assert_eq!(params["progressToken"], "items");
            assert_eq!(params["progress"].as_f64(), Some(f64::from(n)));
            assert_eq!(params["message"], n.to_string());
        }
        let answer = agent.answer(id).await;
        let expected = json!({ "items": [1, 2, 3, 4], "count": 4 });
        assert_eq!(*result_of(&answer["result"]), expected);
        // Without a token, no one is told.
        let id = agent.send("tools/call", json!({ "name": "many", "arguments": { "n": 3 } })).await;
        let message = agent.read().await.unwrap();
        assert_eq!((&message["id"], &message["result"]["isError"]), (&json!(id), &json!(false)));
        agent.leave().await;
    }
}

#[tokio::test]
async fn errors_of_items_and_of_set_ups_are_told_apart() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    let result = agent.call("parsed", json!({ "texts": ["1", "x", "2", "y"] })).await;
    let faults =
        json!([{ "before": 1, "error": "Overflow" }, { "before": 2, "error": "Overflow" }]);
    let expected = json!({ "items": [1, 2], "count": 4, "faults": faults });
    assert_eq!(*result_of(&result), expected);
    let result = agent.call("parsed", json!({ "texts": ["x"] })).await;
    assert_eq!(result_of(&result)["faults"][0]["error"], "Overflow");
    let result = agent.call("parsed", json!({ "texts": [] })).await;
    let error = error_of(&result);
    assert_eq!((&error["kind"], &error["error"]), (&json!("Function"), &json!("nothing to parse")));
    let result = agent.call("shown", json!({ "texts": ["1", "x", "2"] })).await;
    let shown = result_of(&result);
    assert_eq!((&shown["items"], &shown["faults"][0]["before"]), (&json!([1, 2]), &json!(1)));
    assert!(shown["faults"][0]["error"].as_str().unwrap().contains("invalid digit"));
}

#[tokio::test]
async fn a_stream_that_fails_or_is_long_leaves_what_there_is() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    let result = agent.call("forever", json!({})).await;
    let error = error_of(&result);
    assert_eq!((&error["kind"], &error["items"]), (&json!("DeadlineExceeded"), &json!(["a", "b"])));
    assert_eq!((&error["executed"], &error["delivered"]), (&json!("Yes"), &json!(2)));
    let result = agent.call("many", json!({ "n": 10_007 })).await;
    let shown = result_of(&result);
    assert_eq!(shown["items"].as_array().unwrap().len(), 10_000);
    assert_eq!((&shown["count"], &shown["left_out"]), (&json!(10_007), &json!(7)));
}

/// Starts a call that does not end, and returns its id and what hears of it.
async fn napping(agent: &mut Agent, tool: &str) -> (u64, Probe) {
    let mut probe = Probe::new();
    let call = json!({ "name": tool, "arguments": { "key": probe.key } });
    let id = agent.send("tools/call", call).await;
    assert_eq!(probe.next().await, "started");
    (id, probe)
}

#[tokio::test]
async fn a_cancelled_call_ends_its_function() {
    let served = Served::start().await;
    for revision in REVISIONS {
        let mut agent = served.agent(revision).await;
        for tool in ["nap", "quiet"] {
            let (id, mut probe) = napping(&mut agent, tool).await;
            let (_, mut other) = napping(&mut agent, tool).await;
            agent.tell("notifications/cancelled", json!({ "requestId": id })).await;
            assert_eq!(probe.next().await, "dropped");
            assert_eq!(other.so_far(), [""; 0]);
        }
        // It is served as before.
        let result = agent.call("add", json!({ "a": 1, "b": 2 })).await;
        assert_eq!(*result_of(&result), json!({ "result": 3 }));
    }
}

#[tokio::test]
async fn functions_end_when_their_agent_goes() {
    let served = Served::start().await;
    for revision in REVISIONS {
        for tool in ["nap", "quiet"] {
            let mut agent = served.agent(revision).await;
            let (_, mut probe) = napping(&mut agent, tool).await;
            agent.close().await;
            assert_eq!(probe.next().await, "dropped");
            soon(agent.serving).await.unwrap().unwrap();

            let mut agent = served.agent(revision).await;
            let (_, mut probe) = napping(&mut agent, tool).await;
            agent.serving.abort();
            assert_eq!(probe.next().await, "dropped");
        }
    }
}

#[tokio::test]
async fn many_calls_are_under_way_at_a_time() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::From2026).await;
    let gate = Gate::closed();
    let mut probe = Probe::new();
    let mut ids = Vec::new();
    for _ in 0..50 {
        let arguments = json!({ "gate": gate.key, "key": probe.key });
        ids.push(agent.send("tools/call", json!({ "name": "wait", "arguments": arguments })).await);
    }
    for _ in 0..50 {
        assert_eq!(probe.next().await, "started");
    }
    gate.open();
    for id in ids {
        assert_eq!(agent.answer(id).await["result"]["structuredContent"]["result"], "done");
    }
}

#[tokio::test]
async fn what_is_no_message_ends_nothing() {
    let served = Served::start().await;
    let mut agent = served.agent(Revision::Before2026).await;
    for odd in [json!([]), json!(1), json!({ "jsonrpc": "2.0" }), json!({ "id": [] })] {
        agent.write(odd).await;
    }
    let unknown = agent.ask("tools/destroy", json!({})).await;
    assert!(unknown["error"].is_object(), "{unknown}");
    let result = agent.call("add", json!({ "a": 1, "b": 2 })).await;
    assert_eq!(*result_of(&result), json!({ "result": 3 }));
}
