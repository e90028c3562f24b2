//! The program's own mistakes are found at its own side, before anything is sent, and are called so.

use std::time::Duration;

use common::{World, patient, serving, soon};
use easyremote::client::ClientLimits;
use easyremote::gateway::{GatewayBuilder, GatewayLimits};
use easyremote::node::NodeBuilder;
use easyremote::node::NodeLimits;
use easyremote::{
    CallError, Client, Error, ErrorKind, Executed, Gateway, Node, Options, Role, Ticket, functions,
    remote,
};
use futures::{Stream, StreamExt, stream};
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::json;

/// A value that can be taken apart only sometimes.
#[derive(Debug)]
struct Moody(bool);

impl Serialize for Moody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            true => Err(S::Error::custom("not today")),
            false => serializer.serialize_bool(false),
        }
    }
}

impl<'de> Deserialize<'de> for Moody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer).map(Self)
    }
}

#[remote]
fn takes(_first: u8, value: Moody) -> bool {
    value.0
}

#[remote(inline)]
fn gives(moody: bool) -> Moody {
    Moody(moody)
}

#[remote]
fn fails(moody: bool) -> Result<(), Moody> {
    Err(Moody(moody))
}

#[remote(stream)]
fn streams(values: Vec<Moody>, at: usize) -> impl Iterator<Item = Moody> {
    (0..=at).map(move |n| Moody(n == at && values.is_empty()))
}

#[remote]
async fn uploads(values: impl Stream<Item = Moody>) -> usize {
    values.count().await
}

// The node's value is a `String`.
#[allow(clippy::ptr_arg)]
#[remote]
fn stateful(#[state] text: &String) -> usize {
    text.len()
}

mod other {
    #[easyremote::remote]
    pub(super) fn gives(moody: bool) -> bool {
        moody
    }
}

struct Model;

#[remote]
impl Model {
    fn id(&self) -> u8 {
        1
    }
}

#[track_caller]
fn is_mistake(error: &Error, part: &str) {
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::InvalidInput, Executed::No),
        "{error}"
    );
    assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
    assert!(!error.is_retryable() && error.node().is_none() && error.delivered() == 0, "{error:?}");
}

fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

#[tokio::test]
async fn what_is_no_address_or_ticket_is_refused_without_dialling() {
    let world = World::start().await;
    let good = world.gateway.ticket(Role::Client).to_string();
    let mut bad =
        ["", "gw", "gw:", ":80", "gw:70000", "a b:80", "a:1,,b:2", "http://gw:80", "::1:80"]
            .map(str::to_owned)
            .to_vec();
    bad.extend([good.replace("easyremote://", "easyremote:/"), good.replace("erc_", "erc")]);
    // Every part of it cut off, and every character of it changed for one that no part has.
    bad.extend((0..good.len()).map(|length| good[..length].to_owned()));
    bad.extend((0..good.len()).map(|at| format!("{}!{}", &good[..at], &good[at + 1..])));
    for text in bad {
        let error = text.parse::<Ticket>().unwrap_err();
        is_mistake(&error, "the ticket's ");
        let client = Client::builder(&*text).dial(patient(Duration::MAX)).connect();
        is_mistake(&soon(client).await.unwrap_err(), "");
        is_mistake(&soon(Node::serve(&*text, functions![gives])).await.unwrap_err(), "");
    }
    is_mistake(&soon(Client::connect(Vec::<String>::new())).await.unwrap_err(), "is empty");
    let ticket = world.gateway.ticket(Role::Client);
    is_mistake(&ticket.clone().at("gw").unwrap_err(), "write `host:port`");
    for (role, text) in [(Role::Node, "this is a client"), (Role::Admin, "this is a node")] {
        let ticket = world.gateway.ticket(role);
        let error = match role {
            Role::Node => soon(Client::connect(ticket)).await.unwrap_err(),
            _ => soon(Node::serve(ticket, functions![gives])).await.unwrap_err(),
        };
        is_mistake(&error, text);
    }
    // Elsewhere there is no identity file.
    is_mistake(
        &soon(Client::connect("192.0.2.1:80")).await.unwrap_err(),
        "use a ticket for a client",
    );
    let (address, _) = good.split_once("&token").unwrap();
    is_mistake(&soon(Client::connect(address)).await.unwrap_err(), "has no token");
}

#[tokio::test]
async fn a_node_that_cannot_be_is_refused_without_dialling() {
    let world = World::start().await;
    type Wrong = fn(NodeBuilder) -> NodeBuilder;
    let wrong: [(Wrong, &str); 17] = [
        (|node| node.id(""), "a node's id is"),
        (|node| node.id(long(129)), "a node's id is"),
        (|node| node.id("a\u{7}"), "a node's id is"),
        (|node| node.tag(""), "at most 64 tags"),
        (|node| node.tag(long(129)), "at most 64 tags"),
        (|node| (0..65).fold(node, |node, n| node.tag(n.to_string())), "at most 64 tags"),
        (|node| node.functions(functions![gives]), "is listed twice"),
        (|node| node.functions(functions![other::gives]), "two functions are called `gives`"),
        (|node| node.functions(functions![stateful]), "needs a state of type"),
        (|node| node.functions(functions![Model]), "is a method of"),
        (|node| node.functions(functions![Model]).instance("a.b", Model), "`a.b` has a `.`"),
        (|node| node.functions(functions![Model]).instance("", Model), "is empty"),
        (|node| node.concurrency(0), "`concurrency` is 0"),
        (|node| node.limits(NodeLimits::new().blocking_threads(0)), "`blocking_threads` is 0"),
        (|node| node.limits(NodeLimits::new().max_message(0)), "`max_message` is 0"),
        (|node| node.concurrency(0).id(""), "a node's id is"),
        (|node| node.functions(functions![Model]).instance(long(128), Model), "128 are allowed"),
    ];
    for (wrong, part) in wrong {
        let node = wrong(world.node_builder().functions(functions![gives]));
        is_mistake(&soon(node.serve()).await.unwrap_err(), part);
    }
    is_mistake(&soon(world.node_builder().serve()).await.unwrap_err(), "offers no functions");
    let client = world.client_builder().limits(ClientLimits::new().max_message(0)).connect();
    is_mistake(&soon(client).await.unwrap_err(), "`max_message` is 0");
    let node = world.node(functions![gives]).await;
    for tags in [vec![String::new()], vec![long(129)], vec!["x".to_owned(); 65]] {
        is_mistake(&soon(node.set_tags(tags)).await.unwrap_err(), "at most 64 tags");
    }
    // What has no end is no mistake.
    let node = world.node_builder().id("b").functions(functions![gives]);
    let node = node
        .concurrency(usize::MAX)
        .limits(NodeLimits::new().blocking_threads(usize::MAX).max_message(usize::MAX));
    soon(node.serve()).await.unwrap();
}

#[tokio::test]
async fn a_gateway_that_cannot_be_is_refused() {
    let state = tempfile::tempdir().unwrap();
    for address in ["", "nonsense", "localhost", ":0", "localhost:70000", "a b:0", "::1:0"] {
        let gateway = Gateway::builder(address).state_dir(state.path());
        is_mistake(
            &soon(gateway.serve()).await.unwrap_err(),
            "the address to listen on is invalid",
        );
    }
    type Wrong = fn(GatewayBuilder) -> GatewayBuilder;
    fn limits(gateway: GatewayBuilder, limits: GatewayLimits) -> GatewayBuilder {
        gateway.limits(limits)
    }
    let wrong: [(Wrong, &str); 14] = [
        (|gateway| gateway.token(Role::Node, ""), "invalid token name"),
        (|gateway| gateway.token(Role::Client, "#1"), "invalid token name"),
        (|gateway| gateway.token(Role::Admin, long(129)), "invalid token name"),
        (|gateway| gateway.token(Role::Node, "a").token(Role::Node, "a"), "a token `a` for a node"),
        (|gateway| gateway.may_call("a*b", ["f"]), "`a*b` in a rule"),
        (|gateway| gateway.may_offer("a", ["*f"]), "`*f` in a rule"),
        (|gateway| gateway.limits(GatewayLimits::new().max_message(0)), "`max_message` is 0"),
        (|it| limits(it, GatewayLimits::new().connections(0)), "`connections` is 0"),
        (
            |it| limits(it, GatewayLimits::new().connections_per_address(0)),
            "`connections_per_address` is 0",
        ),
        (|it| limits(it, GatewayLimits::new().unauthenticated(0)), "`unauthenticated` is 0"),
        (
            |it| limits(it, GatewayLimits::new().unauthenticated_per_address(0)),
            "`unauthenticated_per_address` is 0",
        ),
        (|it| limits(it, GatewayLimits::new().calls_per_peer(0)), "`calls_per_peer` is 0"),
        (|it| limits(it, GatewayLimits::new().cancels(0, 1)), "`cancels` is 0"),
        (|it| limits(it, GatewayLimits::new().cancels(1, 0)), "`cancels` is 0"),
    ];
    for (wrong, part) in wrong {
        let gateway = wrong(Gateway::builder("127.0.0.1:0").state_dir(state.path()));
        is_mistake(&soon(gateway.serve()).await.unwrap_err(), part);
    }
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve();
    let gateway = soon(gateway).await.unwrap();
    gateway.add_token(Role::Client, "a").unwrap();
    for name in ["", "a b", "a", "default"] {
        is_mistake(&gateway.add_token(Role::Client, name).unwrap_err(), "token");
    }
}

/// Each is beyond a limit by one, with the text of it; and what is just within.
fn options() -> Vec<(Options, &'static str)> {
    let many = |n: usize, add: fn(Options, String) -> Options| {
        (0..n).fold(Options::new(), |options, n| add(options, n.to_string()))
    };
    vec![
        (Options::new().on(""), "`on` takes a node id"),
        (Options::new().on(long(129)), "`on` takes a node id"),
        (Options::new().tag(""), "64 tags"),
        (Options::new().tag(long(129)), "64 tags"),
        (Options::new().prefer_tag(""), "64 tags"),
        (Options::new().prefer_tag(long(129)), "64 tags"),
        (many(65, Options::tag), "64 tags"),
        (many(65, Options::prefer_tag), "64 tags"),
        (Options::new().metadata(long(129), ""), "64 entries"),
        (many(65, |options, n| options.metadata(n, "")), "64 entries"),
        (Options::new().metadata("key", long(8_190)), "is 8193 bytes long"),
        // Each of them is short enough, and all together are not.
        (
            many(64, |it, n| it.tag(format!("{n:0128}")).prefer_tag(format!("{n:0128}"))),
            "set fewer or shorter options",
        ),
    ]
}

#[tokio::test]
async fn options_beyond_their_limits_are_refused_before_anything_is_sent() {
    let world = World::start().await;
    let _node = world.node(functions![gives, streams, uploads]).await;
    for multiplex in [true, false] {
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        for (options, part) in options() {
            let client = client.with(options);
            is_mistake(&soon(gives::call(&client, false)).await.unwrap_err(), part);
            let mut items = streams::call(&client, vec![], 1);
            is_mistake(&soon(items.next()).await.unwrap().unwrap_err(), part);
            assert!(soon(items.next()).await.is_none());
            let error = soon(streams::call(&client, vec![], 1).open()).await.unwrap_err();
            is_mistake(&error, part);
            is_mistake(&soon(uploads::call(&client, stream::empty())).await.unwrap_err(), part);
            let error = soon(client.call_json("gives", json!([false]))).await.unwrap_err();
            is_mistake(error.remote().unwrap(), part);
            let error = soon(client.stream_json("streams", json!([[], 1])).next()).await.unwrap();
            is_mistake(error.unwrap_err().remote().unwrap(), part);
            let error = soon(gives::map(&client, [false]).next()).await.unwrap().unwrap_err();
            is_mistake(&error, part);
            assert!(soon(gives::call(&client, false).traced()).await.is_err());
        }
        let name = soon(client.call_json(long(129), json!([]))).await.unwrap_err();
        is_mistake(name.remote().unwrap(), "at most 128 bytes");
        for name in ["", "a.b", &long(128)] {
            is_mistake(&soon(Model::remote(&client).instance(name).id()).await.unwrap_err(), "");
        }
    }
    assert_eq!(world.gateway.stats().calls, 0);
}

#[tokio::test]
async fn options_at_their_limits_are_none() {
    let (_world, client) = serving(functions![gives]).await;
    let full = (0..64).fold(Options::new(), |options, n| options.prefer_tag(n.to_string()));
    let full = full.prefer_tag(long(128)).metadata(long(128), long(8_192 - 128));
    assert!(soon(gives::call(&client.with(full), false)).await.is_err(), "65 tags");
    let full = (1..64).fold(Options::new(), |options, n| options.prefer_tag(n.to_string()));
    let full = full.prefer_tag(long(128)).metadata(long(128), long(8_192 - 128));
    assert!(!soon(gives::call(&client.with(full), false)).await.unwrap().0);
}

#[tokio::test]
async fn a_value_that_cannot_be_encoded_is_the_mistake_of_whoever_has_it() {
    let world = World::start().await;
    let node = world.node(functions![takes, gives, fails, streams, uploads]).await;
    for multiplex in [true, false] {
        let client = soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        let calls = world.gateway.stats().calls;
        let error = soon(takes::call(&client, 1, Moody(true))).await.unwrap_err();
        is_mistake(&error, "the arguments of `takes` cannot be encoded");
        assert!(error.to_string().contains("not today"), "{error}");
        let mut items = streams::call(&client, vec![Moody(false), Moody(true)], 1);
        let error = soon(items.next()).await.unwrap().unwrap_err();
        is_mistake(&error, "the arguments of `streams` cannot be encoded");
        let error = soon(takes::map(&client, [(1, Moody(true))]).next()).await.unwrap();
        is_mistake(&error.unwrap_err(), "cannot be encoded");
        assert_eq!(world.gateway.stats().calls, calls);
        assert!(!soon(takes::call(&client, 1, Moody(false))).await.unwrap());

        // The function may have begun with the items before it.
        let sent = stream::iter([Moody(false), Moody(true)]);
        let error = soon(uploads::call(&client, sent)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::Maybe));
        assert!(error.to_string().contains("item 1 of the caller's stream"), "{error}");

        // At the node it is no mistake of the caller's.
        let is_bad = |error: &Error, delivered| {
            let seen = (error.kind(), error.executed(), error.delivered());
            assert_eq!(seen, (ErrorKind::BadResponse, Executed::Yes, delivered), "{error}");
            assert_eq!(error.node(), Some(node.id()));
            assert!(error.to_string().contains("not today"), "{error}");
        };
        is_bad(&soon(gives::call(&client, true)).await.unwrap_err(), 0);
        let error = soon(fails::call(&client, true)).await.unwrap_err();
        is_bad(error.remote().unwrap(), 0);
        let error = soon(fails::call(&client, false)).await.unwrap_err();
        assert!(matches!(error, CallError::Function(Moody(false))));
        let mut items = streams::call(&client, vec![], 2);
        for _ in 0..2 {
            soon(items.next()).await.unwrap().unwrap();
        }
        is_bad(&soon(items.next()).await.unwrap().unwrap_err(), 2);
    }
}
