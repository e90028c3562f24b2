//! `err = "display"`: errors that are not serde's travel as text.

use std::error::Error as StdError;
use std::fmt;

use common::{World, soon};
use easyremote::{CallError, Client, Error, ErrorKind, Executed, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde_json::json;

/// Not serde, and with a cause that only `{:#}` shows, as errors with a chain do.
#[derive(Debug)]
struct Chain(&'static str, &'static str);

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            true => write!(f, "{}: {}", self.0, self.1),
            false => f.write_str(self.0),
        }
    }
}

impl StdError for Chain {}

type Result<T, E = Box<dyn StdError + Send + Sync>> = std::result::Result<T, E>;

#[remote(err = "display")]
fn halve(n: i64) -> Result<i64> {
    if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd").into()) }
}

#[remote(err = "display", inline)]
fn chain() -> Result<(), Chain> {
    Err(Chain("no config", "no such file"))
}

/// As most crates write it: each error shows its own part, and has the next as its source.
#[derive(Debug)]
struct Linked(Vec<&'static str>, Option<Box<Linked>>);

impl Linked {
    fn new(parts: &[&'static str]) -> Self {
        let source = (parts.len() > 1).then(|| Box::new(Self::new(&parts[1..])));
        Self(parts.to_vec(), source)
    }
}

impl fmt::Display for Linked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0[0])
    }
}

impl StdError for Linked {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.1.as_deref().map(|source| source as _)
    }
}

/// What `anyhow` has: no error itself, but one inside, whose chain `{:#}` shows.
struct Holder(Linked);

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match f.alternate() {
            true => f.write_str(&self.0.0.join(": ")),
            false => self.0.fmt(f),
        }
    }
}

impl std::ops::Deref for Holder {
    type Target = dyn StdError + Send + Sync;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

const PARTS: [&str; 3] = ["cannot start", "no config", "no such file"];

/// The same chain, in every kind of type that an error may have.
mod linked {
    use std::sync::Arc;

    use super::*;

    #[remote(err = "display")]
    pub(super) fn plain() -> Result<(), Linked> {
        Err(Linked::new(&PARTS))
    }

    #[remote(err = "display", inline)]
    pub(super) fn boxed() -> Result<(), Box<dyn StdError + Send + Sync>> {
        Err(Linked::new(&PARTS).into())
    }

    #[remote(err = "display")]
    pub(super) async fn boxed_send() -> Result<(), Box<dyn StdError + Send>> {
        Err(Box::new(Linked::new(&PARTS)))
    }

    #[remote(err = "display")]
    pub(super) async fn boxed_itself() -> Result<(), Box<Linked>> {
        Err(Box::new(Linked::new(&PARTS)))
    }

    #[remote(err = "display")]
    pub(super) fn shared() -> Result<(), Arc<dyn StdError + Send + Sync>> {
        Err(Arc::new(Linked::new(&PARTS)))
    }

    #[remote(err = "display")]
    pub(super) fn holder() -> Result<(), Holder> {
        Err(Holder(Linked::new(&PARTS)))
    }

    #[remote(err = "display")]
    pub(super) fn input() -> std::io::Result<()> {
        Err(std::io::Error::other(Linked::new(&PARTS)))
    }

    #[remote(err = "display")]
    pub(super) fn text() -> Result<(), String> {
        Err(PARTS.join(": "))
    }

    #[remote(stream, err = "display")]
    pub(super) fn setup() -> Result<impl Iterator<Item = u8>, Linked> {
        Err::<std::iter::Empty<u8>, _>(Linked::new(&PARTS))
    }

    #[remote(stream, err = "display")]
    pub(super) fn item() -> impl Iterator<Item = Result<u8, Box<dyn StdError + Send + Sync>>> {
        [Err(Linked::new(&PARTS).into())].into_iter()
    }

    #[remote(stream, err = "display")]
    pub(super) async fn async_item() -> Result<impl Stream<Item = Result<u8, Linked>>, Holder> {
        Ok(stream::iter([Err(Linked::new(&PARTS))]))
    }
}

#[tokio::test]
async fn all_causes_are_in_the_text_once_whatever_the_type_is() {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![
        linked::plain,
        linked::boxed,
        linked::boxed_send,
        linked::boxed_itself,
        linked::shared,
        linked::holder,
        linked::input,
        linked::text,
        linked::setup,
        linked::item,
        linked::async_item
    ]);
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let whole = PARTS.join(": ");
    for error in [
        soon(linked::plain::call(&client)).await.unwrap_err(),
        soon(linked::boxed::call(&client)).await.unwrap_err(),
        soon(linked::boxed_send::call(&client)).await.unwrap_err(),
        soon(linked::boxed_itself::call(&client)).await.unwrap_err(),
        soon(linked::shared::call(&client)).await.unwrap_err(),
        soon(linked::holder::call(&client)).await.unwrap_err(),
        soon(linked::input::call(&client)).await.unwrap_err(),
        soon(linked::text::call(&client)).await.unwrap_err(),
        soon(linked::setup::call(&client).open()).await.map(drop).unwrap_err(),
        soon(linked::setup::call(&client).next()).await.unwrap().unwrap_err(),
        soon(linked::item::call(&client).next()).await.unwrap().unwrap_err(),
        soon(linked::async_item::call(&client).next()).await.unwrap().unwrap_err(),
    ] {
        is_failure(&error, &whole, &node);
        assert!(error.source().is_none());
    }
}

#[remote(err = "display")]
async fn long(letters: usize) -> Result<(), String> {
    Err("é".repeat(letters))
}

#[remote(err = "display")]
async fn upload(numbers: impl Stream<Item = i64>) -> Result<i64, Chain> {
    Err(Chain("nothing", "taken")).or(if numbers.count().await > 2 {
        Ok(7)
    } else {
        Err(Chain("a", "b"))
    })
}

#[remote(stream, err = "display")]
fn items(to: u64) -> impl Stream<Item = Result<u64, Chain>> {
    stream::iter(1..=to).map(|n| if n % 2 == 0 { Err(Chain("even", "two")) } else { Ok(n) })
}

#[remote(stream, err = "display")]
async fn setup(fail: bool) -> Result<impl Iterator<Item = u64>, Chain> {
    if fail { Err(Chain("not set up", "closed")) } else { Ok(1..3) }
}

#[remote(stream, err = "display")]
fn both(fail: bool) -> Result<impl Iterator<Item = Result<u64, Chain>>> {
    if fail {
        return Err("both".into());
    }
    Ok([Ok(1), Err(Chain("one", "item")), Ok(3)].into_iter())
}

async fn start() -> (World, Node, Client) {
    let functions = functions![halve, chain, long, upload, items, setup, both];
    World::with(functions).await
}

#[track_caller]
fn is_failure(error: &Error, text: &str, node: &Node) {
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Failed, Executed::Yes), "{error:?}");
    assert_eq!((error.to_string().as_str(), error.node()), (text, Some(node.id())));
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn the_caller_gets_the_text_in_a_plain_error() {
    let (_world, node, client) = start().await;
    let half: std::result::Result<i64, Error> = soon(halve::call(&client, 8)).await;
    assert_eq!(half.unwrap(), 4);
    is_failure(&soon(halve::call(&client, 7)).await.unwrap_err(), "7 is odd", &node);
    is_failure(&soon(chain::call(&client)).await.unwrap_err(), "no config: no such file", &node);
}

#[tokio::test]
async fn functions_that_take_a_stream_can_fail_with_text() {
    let (_world, node, client) = start().await;
    let call = upload::call(&client, stream::iter([1, 2, 3]));
    assert_eq!(soon(call).await.unwrap(), 7);
    let error = soon(upload::call(&client, stream::iter([1]))).await.unwrap_err();
    is_failure(&error, "a: b", &node);
}

#[tokio::test]
async fn a_failed_item_does_not_end_its_stream() {
    let (_world, node, client) = start().await;
    let found: Vec<std::result::Result<u64, Error>> = soon(items::call(&client, 5).collect()).await;
    let values: Vec<_> = found.iter().map(|item| item.as_ref().ok().copied()).collect();
    assert_eq!(values, [Some(1), None, Some(3), None, Some(5)]);
    is_failure(found[1].as_ref().unwrap_err(), "even: two", &node);
    // The same if the set-up is awaited.
    let opened = soon(items::call(&client, 5).open()).await.unwrap();
    let values: Vec<_> = soon(opened.map(|item| item.ok()).collect()).await;
    assert_eq!(values, [Some(1), None, Some(3), None, Some(5)]);
}

#[tokio::test]
async fn a_failed_set_up_ends_its_stream() {
    let (_world, node, client) = start().await;
    let good: Vec<_> = soon(setup::call(&client, false).map(|item| item.unwrap()).collect()).await;
    assert_eq!(good, [1, 2]);
    let bad: Vec<_> = soon(setup::call(&client, true).collect()).await;
    assert_eq!(bad.len(), 1);
    is_failure(bad[0].as_ref().unwrap_err(), "not set up: closed", &node);
    let error = soon(setup::call(&client, true).open()).await.unwrap_err();
    is_failure(&error, "not set up: closed", &node);
}

#[tokio::test]
async fn set_up_and_items_can_both_fail_with_text() {
    let (_world, node, client) = start().await;
    let found: Vec<_> = soon(both::call(&client, false).collect()).await;
    assert!(matches!(found[..], [Ok(1), Err(_), Ok(3)]), "{found:?}");
    is_failure(found[1].as_ref().unwrap_err(), "one: item", &node);
    let found: Vec<_> = soon(both::call(&client, true).collect()).await;
    is_failure(found[0].as_ref().unwrap_err(), "both", &node);
    assert_eq!(found.len(), 1);
}

#[tokio::test]
async fn a_long_text_is_cut_between_two_characters() {
    let (_world, node, client) = start().await;
    let error = soon(long::call(&client, 4_000)).await.unwrap_err();
    is_failure(&error, &"é".repeat(4_000), &node);
    let error = soon(long::call(&client, 1_000_000)).await.unwrap_err();
    is_failure(&error, &"é".repeat(4_000), &node);
}

#[tokio::test]
async fn calls_by_name_get_the_same_error() {
    let (_world, node, client) = start().await;
    let error = soon(client.call_json("halve", json!([7]))).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error:?}") };
    is_failure(&error, "7 is odd", &node);
    let found: Vec<_> = soon(client.stream_json("both", json!([false])).collect()).await;
    assert!(matches!(found[..], [Ok(_), Err(CallError::Remote(_)), Ok(_)]), "{found:?}");
    let found: Vec<_> = soon(client.stream_json("setup", json!([true])).collect()).await;
    let Some(Err(CallError::Remote(error))) = found.first() else { panic!("{found:?}") };
    is_failure(error, "not set up: closed", &node);
}

#[tokio::test]
async fn the_signature_shows_that_there_is_a_text() {
    let (_world, _node, client) = start().await;
    let functions = soon(client.functions()).await.unwrap();
    let signature = |name: &str| &*functions.iter().find(|it| it.name == name).unwrap().signature;
    assert_eq!(signature("halve"), "(n: i64) -> Result<i64, Text>");
    assert_eq!(
        signature("both"),
        "(fail: bool) -> Result<impl Stream<Item = Result<u64, Text>>, Text>"
    );
}

/// What travels as text and what travels as a value are not taken for each other.
#[tokio::test]
async fn a_caller_that_expects_another_kind_of_error_is_refused() {
    mod other {
        #[easyremote::remote]
        pub(super) fn halve(n: i64) -> std::result::Result<i64, String>;
    }
    let (_world, _node, client) = start().await;
    let error = soon(other::halve::call(&client, 8)).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error:?}") };
    assert_eq!(error.kind(), ErrorKind::SignatureMismatch);
}
