//! Values arrive as they were sent, or not at all, and whoever sends one that cannot learns why.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{World, serving};
use easyremote::client::ClientLimits;
use easyremote::{Error, ErrorKind, Executed, Node, functions, remote};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

/// A caller's and a node's view of the functions of one name.
macro_rules! sides {
    ($($item:item)*) => {
        mod caller {
            use super::*;
            $($item)*
        }
    };
}

fn no(error: &Error, kind: ErrorKind) -> String {
    assert_eq!((error.kind(), error.executed()), (kind, Executed::No), "{error}");
    error.to_string()
}

#[remote(name = "rename")]
fn rename(account: u64, amount: u64) -> (u64, u64) {
    (account, amount)
}

#[remote(name = "book")]
fn book(price: Price) -> i64 {
    price.cents
}

#[remote(name = "greet")]
fn greet(person: Person) -> String {
    format!("{} {}", person.name, person.age)
}

#[derive(Clone, Serialize, Deserialize)]
struct Price {
    currency: Currency,
    cents: i64,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Currency(String);

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() == 3 { Ok(Self(text)) } else { Err("not three letters".to_owned()) }
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0
    }
}

#[derive(Serialize, Deserialize)]
struct Person {
    #[serde(alias = "years", alias = "Alter")]
    age: u32,
    name: String,
}

sides! {
    #[remote(name = "rename")]
    pub(super) fn rename(amount: u64, account: u64) -> (u64, u64);

    #[derive(Serialize, Deserialize)]
    pub(super) struct Price {
        pub(super) currency: Currency,
        pub(super) cents: u64,
    }

    #[remote(name = "book")]
    pub(super) fn book(price: Price) -> i64;

    #[derive(Serialize, Deserialize)]
    pub(super) struct Person {
        pub(super) age: u32,
        #[serde(alias = "called")]
        pub(super) name: String,
    }

    #[remote(name = "greet")]
    pub(super) fn greet(person: Person) -> String;
}

#[tokio::test]
async fn what_would_be_misread_is_refused_and_an_alias_is_not() {
    let (_world, client) = serving(functions![rename, book, greet]).await;
    let swapped = caller::rename::call(&client, 1, 2).await.unwrap_err();
    let text = no(&swapped, ErrorKind::SignatureMismatch);
    assert!(text.contains("amount: u64, account: u64"), "{text}");
    assert_eq!(rename::call(&client, 1, 2).await.unwrap(), (1, 2));

    let currency = Currency("EUR".to_owned());
    let price = caller::Price { currency: currency.clone(), cents: 100 };
    let text =
        no(&caller::book::call(&client, price).await.unwrap_err(), ErrorKind::SignatureMismatch);
    assert!(text.contains("cents: u64") && text.contains("cents: i64"), "{text}");
    assert_eq!(book::call(&client, Price { currency, cents: -100 }).await.unwrap(), -100);

    let person = caller::Person { age: 7, name: "Ada".to_owned() };
    assert_eq!(caller::greet::call(&client, person).await.unwrap(), "Ada 7");
    let listed = client.functions().await.unwrap();
    let greet = listed.iter().find(|function| function.name == "greet").unwrap();
    assert_eq!(greet.signature, "(person: Person { age: u32, name: String }) -> String");
}

/// What its `Serialize` writes is read in no format.
#[derive(Debug, Serialize, Deserialize)]
struct Lossy {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
}

static RUNS: AtomicU64 = AtomicU64::new(0);

#[remote]
fn takes(_lossy: Vec<Lossy>) {}

#[remote]
fn gives() -> Option<Lossy> {
    RUNS.fetch_add(1, Ordering::SeqCst);
    None
}

#[remote]
fn fails() -> Result<(), Lossy> {
    Ok(())
}

#[remote(stream)]
fn pours() -> impl Iterator<Item = (u8, Lossy)> {
    std::iter::empty()
}

#[remote]
async fn collects(_items: impl futures::Stream<Item = Lossy>) {}

#[remote(operator)]
fn filters(_item: &Lossy) -> bool {
    true
}

#[tokio::test]
async fn a_type_that_cannot_be_sent_is_refused_by_the_node_and_by_the_stub() {
    let world = World::start().await;
    let all = [
        (functions![takes], "argument `_lossy`"),
        (functions![gives], "the result"),
        (functions![fails], "the error"),
        (functions![pours], "the result"),
        (functions![collects], "the caller's stream"),
        (functions![filters], "the item"),
    ];
    for (functions, what) in all {
        let name = functions.names().next().unwrap().to_owned();
        let node: Result<Node, Error> = world.node_builder().functions(functions).serve().await;
        let text = no(&node.err().unwrap(), ErrorKind::InvalidInput);
        for part in [&*name, what, "Lossy", "missing field `tags`", "#[serde(default)]"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
    let client = world.client().await;
    let text = no(&takes::call(&client, vec![]).await.unwrap_err(), ErrorKind::InvalidInput);
    assert!(text.contains("`takes` cannot be called: argument `_lossy`"), "{text}");
    no(&gives::call(&client).await.unwrap_err(), ErrorKind::InvalidInput);
    let item = pours::call(&client).next().await.unwrap();
    no(&item.unwrap_err(), ErrorKind::InvalidInput);
    assert_eq!(RUNS.load(Ordering::SeqCst), 0);
}

/// Most values are written by name; which are not depends on the value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Ambiguous {
    Narrow(u32),
    Wide(u64),
}

#[remote]
fn echo(value: Ambiguous) -> Ambiguous {
    RUNS.fetch_add(100, Ordering::SeqCst);
    value
}

#[remote]
fn address(of: IpAddr) -> IpAddr {
    of
}

#[tokio::test]
async fn a_value_that_would_arrive_changed_is_an_error_at_its_sender() {
    let (_world, client) = serving(functions![echo, address]).await;
    for value in [Ambiguous::Narrow(5), Ambiguous::Wide(u64::MAX)] {
        assert_eq!(echo::call(&client, value.clone()).await.unwrap(), value);
    }
    let text =
        no(&echo::call(&client, Ambiguous::Wide(5)).await.unwrap_err(), ErrorKind::InvalidInput);
    assert!(text.contains("Ambiguous") && text.contains("another value"), "{text}");
    // Signatures are for those who call by name.
    let listed = client.functions().await.unwrap();
    let address = listed.iter().find(|function| function.name == "values.address");
    let signature = address.map(|function| function.signature.clone());
    let named = listed.iter().map(|function| function.signature.clone()).collect::<Vec<_>>();
    assert!(named.contains(&"(of: String) -> String".to_owned()), "{signature:?} {named:?}");
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Row {
    name: Option<String>,
    tags: Vec<String>,
    score: Option<f64>,
}

#[remote]
fn count(rows: Vec<Row>) -> usize {
    rows.len()
}

#[remote]
fn make(n: usize) -> Vec<Row> {
    vec![Row::default(); n]
}

#[remote(stream)]
fn batches(n: usize) -> impl Iterator<Item = Vec<Row>> {
    (0..2).map(move |_| vec![Row::default(); n])
}

#[tokio::test]
async fn sparse_data_arrives_and_what_is_too_large_is_not_sent() {
    let world = World::start().await;
    let functions = || functions![count, make, batches];
    let _node = world.node(functions()).await;
    let client = world.client().await;
    for n in [100_000, 400_000, 1_000_000] {
        assert_eq!(count::call(&client, vec![Row::default(); n]).await.unwrap(), n);
        assert_eq!(make::call(&client, n).await.unwrap().len(), n);
        let items = batches::call(&client, n).map(|item| item.unwrap().len());
        assert_eq!(items.collect::<Vec<_>>().await, [n, n]);
    }
    // 64 bytes each, and three on the wire.
    let small = world
        .client_builder()
        .limits(ClientLimits::new().max_decoded(1 << 20))
        .connect()
        .await
        .unwrap();
    assert_eq!(count::call(&small, vec![Row::default(); 16_000]).await.unwrap(), 16_000);
    let refused = count::call(&small, vec![Row::default(); 50_000]).await.unwrap_err();
    let text = no(&refused, ErrorKind::InvalidInput);
    assert!(text.contains("max_decoded") && text.contains("4 MiB"), "{text}");
    let error = make::call(&small, 50_000).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::BadResponse, Executed::Yes));
}
