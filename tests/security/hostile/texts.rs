//! Texts that are written for logs and terminals of others.

use common::hostile::attacker::{Attacker, Insider, endpoint_at, token};
use common::hostile::impostor::Impostor;
use common::hostile::wire;
use common::{soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::{Client, Node, Role};
use futures::FutureExt;
use serde_json::{Value, json};

use super::functions::add;
use super::target::Target;

/// What does something in a terminal, a log or a page: escapes, ends of lines, other directions, and
/// what nobody sees.
const EVIL: [char; 32] = [
    '\x1b',
    '\r',
    '\n',
    '\x07',
    '\x08',
    '\0',
    '\x7f',
    '\u{9b}',
    '\u{85}',
    '\u{ad}',
    '\u{61c}',
    '\u{200b}',
    '\u{200d}',
    '\u{200e}',
    '\u{200f}',
    '\u{2028}',
    '\u{2029}',
    '\u{202a}',
    '\u{202b}',
    '\u{202c}',
    '\u{202d}',
    '\u{202e}',
    '\u{2060}',
    '\u{2066}',
    '\u{2067}',
    '\u{2068}',
    '\u{2069}',
    '\u{feff}',
    '\u{fff9}',
    '\u{180e}',
    '\u{e0001}',
    '\u{e0041}',
];

/// A text with all of it.
fn evil() -> String {
    EVIL.iter().map(|c| format!("a{c}[2J")).collect()
}

fn is_clean(text: &str) -> bool {
    !text.chars().any(|c| EVIL.contains(&c) || c.is_control())
}

/// What a node registers that offers one function with these texts.
fn register(tags: &[&str], parameter: &str, signature: &str, doc: &str, needs: &str) -> Vec<u8> {
    let schemas = json!({ "arguments": { "description": doc } });
    let names = |names: &[&str]| {
        let names = names.iter().filter(|name| !name.is_empty());
        let packed: Vec<_> = names.map(wire::packed_string).collect();
        [wire::packed(packed.len() as u64), packed.concat()].concat()
    };
    let mut body = vec![4];
    body.extend(names(tags));
    body.extend(wire::packed(8));
    body.extend(wire::packed(1));
    body.extend(wire::packed_string("f"));
    body.extend([wire::UNARY, 0]);
    body.extend(names(&[parameter]));
    body.extend(wire::packed_string(signature));
    body.extend(wire::packed_string(doc));
    body.extend(names(&[needs]));
    // Concurrency, timeout, idempotent, tool.
    body.extend([0; 4]);
    body.extend(wire::packed_string(schemas.to_string()));
    wire::frame(wire::CONTROL, &body)
}

/// Registers a node; its connection, if the gateway takes it.
async fn node(target: &Target, register: Vec<u8>) -> Option<(Attacker, quinn::SendStream)> {
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let attacker = Attacker::connect(target.address()).await;
    let (role, token) = token(&ticket);
    let (mut send, mut recv) = soon(attacker.connection.open_bi()).await.unwrap();
    let hello = wire::hello(&attacker.connection, role, &token, "evil");
    send.write_all(&[hello, register].concat()).await.unwrap();
    assert_eq!(soon(wire::message(&mut send, &mut recv)).await.unwrap()[0], 2);
    let answer = soon(wire::message(&mut send, &mut recv)).await?;
    (answer[0] == 5).then_some((attacker, send))
}

#[tokio::test]
async fn signatures_and_docs() {
    let target = Target::start(GatewayLimits::new()).await;
    let registered = register(&[], "p", &evil(), &format!("one\n{}", evil()), "");
    let _node = node(&target, registered).await.expect("texts are cleaned, and not refused");
    let functions = soon(target.client.functions()).await.unwrap();
    let function = functions.iter().find(|function| function.name == "f").unwrap();
    assert!(is_clean(&function.signature), "{:?}", function.signature);
    // Docs have lines.
    let described = function.schemas.as_ref().unwrap().arguments()["description"].clone();
    for doc in [&*function.doc, described.as_str().unwrap()] {
        assert!(doc.starts_with("one\n") && is_clean(&doc.replace('\n', "")), "{doc:?}");
    }
}

#[tokio::test]
async fn names_that_are_not_what_they_seem() {
    let target = Target::start(GatewayLimits::new()).await;
    for c in EVIL {
        let name = format!("a{c}b");
        for registered in [
            register(&[&name], "p", "", "", ""),
            register(&[], &name, "", "", ""),
            register(&[], "p", "", "", &name),
        ] {
            assert!(node(&target, registered).await.is_none(), "{name:?}");
        }
        let ticket = target.gateway.ticket(Role::Node).to_string();
        let stranger = Attacker::connect(target.address()).await;
        assert!(stranger.prove(&ticket, &name).await.is_none(), "{name:?}");
        for builder in [
            Node::builder(target.address()).id(name.clone()),
            Node::builder(target.address()).tag(name.clone()),
        ] {
            let refused = builder.serve().now_or_never().expect("refused at once");
            assert!(refused.is_err(), "{name:?}");
        }
    }
}

#[tokio::test]
async fn errors_of_a_node() {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let functions = [("answer", wire::UNARY), ("items", wire::STREAM)];
    let node = Insider::node(target.address(), &ticket, &functions).await;
    let client = soon(Client::connect(target.gateway.ticket(Role::Client))).await.unwrap();
    let text = [wire::string(format!("n{}", EVIL[0])), wire::string(evil())].concat();
    let error = wire::frame(wire::ERROR, &[&[18, 2, 0, 0][..], &text].concat());
    let calling = tokio::spawn(target.client.call_json("answer", json!([])));
    let (mut send, _recv) = common::hostile::impostor::next_call(&node.connection).await;
    send.write_all(&error).await.unwrap();
    send.finish().unwrap();
    let failed = soon(calling).await.unwrap().unwrap_err();
    let failed = failed.remote().unwrap();
    assert!(is_clean(&failed.to_string()), "{failed:?}");
    assert!(is_clean(failed.node().unwrap()) && is_clean(&format!("{failed:?}")), "{failed:?}");
    let calling = tokio::spawn(client.call_json("answer", json!([])));
    let (mut send, mut recv) = common::hostile::mux::accept(&node.connection).await;
    let (id, _) = soon(common::hostile::mux::read(&mut recv)).await.unwrap();
    send.write_all(&common::hostile::mux::message(id, &error)).await.unwrap();
    let failed = soon(calling).await.unwrap().unwrap_err();
    assert!(is_clean(&failed.to_string()), "{failed:?}");
    // Names that callers make up come back in errors.
    for name in EVIL.map(|c| format!("a{c}b")) {
        let failed = soon(target.client.call_json(&name, json!([]))).await.unwrap_err();
        assert!(is_clean(&failed.to_string()), "{failed:?}");
        let elsewhere = add::call(&target.client, 1, 2).on(name.clone()).tag(name);
        let failed = soon(elsewhere).await.unwrap_err();
        assert!(is_clean(&failed.to_string()), "{failed:?}");
    }
}

#[tokio::test]
async fn what_a_gateway_tells_of_others() {
    let impostor = Impostor::start();
    let ticket = impostor.ticket("erc_");
    let connecting = Client::builder(&*ticket).multiplex(false).connect();
    let (client, connection) = soon(async { tokio::join!(connecting, impostor.welcome()) }).await;
    let client = client.unwrap();
    let text = evil();
    let answer = async |value: Value| {
        let (mut send, _recv) = common::hostile::impostor::next_call(&connection).await;
        let body = serde_json::to_vec(&value).unwrap();
        send.write_all(&wire::frame(wire::BODY, &body)).await.unwrap();
        send.finish().unwrap();
    };
    let functions = json!([{
        "name": text, "kind": "unary", "parameters": [text], "signature": text, "doc": text,
        "needs": [text], "nodes": [text], "schemas": { "arguments": { "description": text } },
    }]);
    let (functions, ()) = soon(async { tokio::join!(client.functions(), answer(functions)) }).await;
    for function in functions.unwrap() {
        let lists = [&function.parameters, &function.needs, &function.nodes];
        let texts = lists.into_iter().flatten().chain([&function.name, &function.signature]);
        assert!(texts.into_iter().all(|text| is_clean(text)), "{function:?}");
        assert!(is_clean(&function.doc.replace('\n', "")), "{function:?}");
        let described = function.schemas.unwrap().arguments()["description"].clone();
        assert!(is_clean(&described.as_str().unwrap().replace('\n', "")), "{described}");
    }
    let nodes = json!([{
        "id": text, "tags": [text], "functions": [text], "in_flight": 1, "avoided_for": [text],
    }]);
    let (nodes, ()) = soon(async { tokio::join!(client.nodes(), answer(nodes)) }).await;
    for node in nodes.unwrap() {
        let lists = [&node.tags, &node.functions, &node.avoided_for];
        let texts = lists.into_iter().flatten().chain([&node.id]);
        assert!(texts.into_iter().all(|text| is_clean(text)), "{node:?}");
    }
    let (wrong, ()) =
        soon(async { tokio::join!(client.nodes(), answer(json!([{"id": 1, "\x1b": text}]))) })
            .await;
    let wrong = wrong.unwrap_err();
    assert!(is_clean(&wrong.to_string()), "{wrong}");
    let calling = tokio::spawn(client.call_json("answer", json!([])));
    let (_send, _recv) = common::hostile::impostor::next_call(&connection).await;
    connection.close(0_u32.into(), evil().as_bytes());
    let failed = soon(calling).await.unwrap().unwrap_err();
    let mut cause: Option<&dyn std::error::Error> = failed.remote().map(|error| error as _);
    while let Some(error) = cause {
        assert!(is_clean(&error.to_string()), "{error}");
        cause = error.source();
    }
}

#[tokio::test]
async fn the_last_words_of_a_stranger() {
    let target = Target::start(GatewayLimits::new()).await;
    for kind in 0..20_u32 {
        let endpoint = endpoint_at("127.0.0.1");
        let transport = quinn::TransportConfig::default();
        let dialled =
            common::hostile::attacker::connect(&endpoint, target.address(), transport).await;
        let connection = dialled.unwrap();
        if kind % 2 == 0 {
            let (mut send, recv) = soon(connection.open_bi()).await.unwrap();
            send.write_all(&wire::begun(wire::CONTROL, 10)).await.unwrap();
            until(|| target.gateway.stats().unauthenticated > 0).await;
            drop((send, recv));
        }
        connection.close((kind * 4).into(), evil().as_bytes());
        soon(endpoint.wait_idle()).await;
    }
    until(|| target.gateway.stats().connections == 2).await;
    assert_eq!(target.gateway.stats().refused, 0, "they have left, and nobody has refused them");
}
