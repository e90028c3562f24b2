//! Nodes that are let in, and then do not register as they should.

use std::time::Duration;

use common::hostile::attacker::{Attacker, Insider, token};
use common::hostile::wire::{self, PROTOCOL};
use common::{soon, until};
use easyremote::gateway::{GatewayBuilder, GatewayLimits};
use easyremote::{Node, Role, functions, remote};
use futures::FutureExt;

use super::target::Target;

#[remote]
async fn early() {}

#[remote]
async fn late() {}

/// Offers `functions` as the node `id`; says why the gateway has closed the connection.
async fn refusal(target: &Target, id: &str, functions: &[(&str, u8)]) -> (u64, String) {
    refused(target, id, wire::register(functions)).await
}

/// Registers as the node `id`; says why the gateway has closed the connection.
async fn refused(target: &Target, id: &str, register: Vec<u8>) -> (u64, String) {
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let stranger = Attacker::connect(target.address()).await;
    let (mut send, _recv) = soon(stranger.connection.open_bi()).await.unwrap();
    let (role, token) = token(&ticket);
    let hello = wire::hello(&stranger.connection, role, &token, id);
    send.write_all(&[hello, register].concat()).await.unwrap();
    stranger.end().await
}

#[tokio::test]
async fn schemas_that_are_none_are_not_passed_on() {
    let target = Target::start(GatewayLimits::new()).await;
    let nested = format!(r#"{{"arguments":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    for (schemas, complaint) in [
        ("nonsense", "are not a JSON object"),
        ("{", "are not a JSON object: EOF"),
        (r#"{"arguments":{}} {}"#, "trailing characters"),
        (r#"{"result":{}}"#, "lack an object `arguments`"),
        (r#"{"arguments":{"enum":["\ud800"]}}"#, "hex escape"),
        (&nested, "nest deeper than 96 levels"),
        (&"x".repeat((32 << 10) + 1), "a schema of 32769 bytes; the limit is 32768"),
    ] {
        let register = wire::register_with_schemas(&[("f", wire::UNARY)], schemas);
        let (kind, text) = refused(&target, "odd", register).await;
        assert_eq!(kind, PROTOCOL, "{text}");
        assert!(text.contains(complaint), "{text}");
    }
    assert_eq!(target.gateway.stats().nodes, 1);
    target.serves().await;
}

#[tokio::test]
async fn a_registration_has_its_time() {
    const UNAVAILABLE: u64 = 1;
    // Enough for the proof, also where much else is going on.
    let short = Duration::from_secs(2);
    let target = Target::start(GatewayLimits::new().authentication_timeout(short)).await;
    let before = target.gateway.stats().hits.authentication_timeouts;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let silent = Attacker::connect(target.address()).await.prove(&ticket, "silent").await.unwrap();
    let (kind, text) = common::hostile::attacker::close_of(&silent.connection).await;
    assert_eq!((kind, &*text), (UNAVAILABLE, "the peer said nothing for 2s"));
    assert_eq!(target.gateway.stats().hits.authentication_timeouts, before + 1);
    assert_eq!(target.gateway.stats().nodes, 1);
    target.serves().await;
}

#[tokio::test]
async fn names_that_are_none_are_not_offered() {
    let target = Target::start(GatewayLimits::new()).await;
    let long = "x".repeat(129);
    for (name, complaint) in [
        ("", "is not a valid function name"),
        ("a b", "is not a valid function name"),
        ("größe", "is not a valid function name"),
        ("easyremote.stats", "is not a valid function name"),
        ("a\x1b[2J", r#"the name "a\u{1b}[2J" has control characters"#),
        (&*long, "a name of 129 bytes; the limit is 128"),
    ] {
        let (kind, text) =
            refusal(&target, "odd", &[("fine", wire::UNARY), (name, wire::UNARY)]).await;
        assert_eq!(kind, PROTOCOL, "{text}");
        assert!(text.contains(complaint), "{name:?}: {text}");
    }
    let nameless = refusal(&target, "", &[("fine", wire::UNARY)]).await;
    assert_eq!(nameless, (PROTOCOL, "the node has no id".to_owned()));
    assert_eq!(target.gateway.stats().nodes, 1);
    target.serves().await;
}

#[tokio::test]
async fn a_node_offers_1024_functions_and_no_more() {
    let target = Target::start(GatewayLimits::new()).await;
    let names: Vec<_> = (0..1_025).map(|i| format!("f{i}")).collect();
    let offers: Vec<_> = names.iter().map(|name| (name.as_str(), wire::UNARY)).collect();
    let (kind, text) = refusal(&target, "odd", &offers).await;
    assert_eq!((kind, &*text), (PROTOCOL, "`register`: more than 1024 functions"));
    let ticket = target.gateway.ticket(Role::Node).to_string();
    Insider::node(target.address(), &ticket, &offers[..1_024]).await;
    target.serves().await;
}

#[tokio::test]
async fn a_node_has_256_long_answers_under_way_and_no_more() {
    let target = Target::start(GatewayLimits::new()).await;
    let ticket = target.gateway.ticket(Role::Node).to_string();
    let node = Insider::node(target.address(), &ticket, &[("f", wire::UNARY)]).await;
    let mut answers = vec![soon(node.connection.open_uni()).await];
    answers.extend(std::iter::from_fn(|| node.connection.open_uni().now_or_never()));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 256);
    target.serves().await;
}

#[tokio::test]
async fn a_flood_of_names_takes_nobodys_name_away() {
    const PERMISSION_DENIED: u64 = 6;
    let named = [(Role::Node, "evil"), (Role::Node, "good")];
    let named =
        |it: GatewayBuilder| named.iter().fold(it, |it, (role, name)| it.token(*role, *name));
    let target = Target::of(named).await;
    let [evil, good] = ["evil", "good"]
        .map(|name| target.gateway.ticket_of(Role::Node, name).unwrap().to_string());
    // One that was there before, and one that comes when the flood is over.
    let early = soon(Node::serve(&*good, functions![early])).await.unwrap();
    let mut refused = 0;
    for n in 0..20 {
        let names: Vec<_> = (0..1_000).map(|i| format!("f{n}.{i}")).collect();
        let names: Vec<_> = names.iter().map(|name| (&**name, wire::UNARY)).collect();
        let (kind, text) = registers(&target, &evil, "evil", &names).await;
        if kind == PERMISSION_DENIED {
            assert!(text.contains("`evil` has been the first to offer 16000"), "{text}");
            refused += 1;
        }
    }
    assert_eq!(refused, 4, "no more than 16,384");
    let late = soon(Node::serve(&*good, functions![late])).await.unwrap();
    // Both restart, and meanwhile somebody else wants their names.
    soon(early.shutdown()).await;
    soon(late.shutdown()).await;
    until(|| target.gateway.stats().nodes == 1).await;
    for name in ["early", "late"] {
        let (kind, text) = registers(&target, &evil, "evil", &[(name, wire::UNARY)]).await;
        assert_eq!(kind, PERMISSION_DENIED, "{text}");
        assert!(text.contains("belongs to `good`") || text.contains("may be of 16384"), "{text}");
    }
    soon(Node::serve(&*good, functions![early, late])).await.unwrap();
    target.serves().await;
}

/// Offers `functions` with `ticket`, and leaves if it is let in; says why the gateway has closed the
/// connection, or 0.
async fn registers(
    target: &Target,
    ticket: &str,
    id: &str,
    functions: &[(&str, u8)],
) -> (u64, String) {
    let stranger = Attacker::connect(target.address()).await;
    let (mut send, mut recv) = soon(stranger.connection.open_bi()).await.unwrap();
    let (role, token) = token(ticket);
    let hello = wire::hello(&stranger.connection, role, &token, id);
    send.write_all(&[hello, wire::register(functions)].concat()).await.unwrap();
    for _ in 0..2 {
        match soon(wire::message(&mut send, &mut recv)).await.unwrap()[0] {
            2 => {}
            5 => {
                let nodes = target.gateway.stats().nodes;
                stranger.connection.close(0u32.into(), b"");
                until(|| target.gateway.stats().nodes < nodes).await;
                return (0, String::new());
            }
            _ => break,
        }
    }
    stranger.end().await
}
