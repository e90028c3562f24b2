//! Functions that are marked for agents, as clients find them.

use std::collections::BTreeMap;
use std::time::Duration;

use common::World;
use easyremote::client::FunctionInfo;
use easyremote::node::Functions;
use easyremote::{functions, remote};
use futures::Stream;

/// Adds.
#[remote(tool, idempotent, timeout = "1h")]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// Counts.
#[remote(tool, stream, name = "Count.up-to_1", timeout = "90s")]
fn count(to: u64) -> impl Stream<Item = u64> {
    futures::stream::iter(1..=to)
}

/// Doubles.
#[remote(tool, batch(max = 4))]
fn double(numbers: Vec<i64>) -> Vec<i64> {
    numbers.into_iter().map(|number| 2 * number).collect()
}

/// Declared here, and implemented below.
#[remote(tool)]
async fn declared(a: u8) -> u8;

#[remote(implements = declared)]
fn declared_here(a: u8) -> u8 {
    a
}

/// Is not for agents.
#[remote(idempotent)]
fn hidden() {}

struct Model;

#[remote]
impl Model {
    /// Embeds.
    #[remote(tool)]
    fn embed(&self, text: String) -> usize {
        text.len()
    }

    /// Is not for agents.
    fn reset(&self) {}
}

#[remote]
trait Greeter {
    /// Greets.
    #[remote(tool, idempotent)]
    fn greet(&self, name: String) -> String;
}

impl Greeter for Model {
    fn greet(&self, name: String) -> String {
        name
    }
}

/// Functions of the same name and types that say less of themselves.
mod older {
    use easyremote::remote;

    /// Adds.
    #[remote(tool, timeout = "2s")]
    pub(crate) fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    /// Doubles.
    #[remote(idempotent)]
    pub(crate) fn double(numbers: i64) -> i64 {
        2 * numbers
    }
}

fn marks(functions: Vec<FunctionInfo>) -> BTreeMap<String, (bool, bool)> {
    functions.into_iter().map(|it| (it.name, (it.tool, it.idempotent))).collect()
}

fn offered() -> Functions {
    functions![add, count, double, declared_here, hidden, Model, GreeterServer<Model>]
}

#[tokio::test]
async fn clients_see_which_functions_are_tools() {
    let world = World::start().await;
    let node = world.node_builder().functions(offered()).state(Model).instance("small", Model);
    let _node = node.serve().await.unwrap();
    let client = world.client().await;
    let expected = [
        ("Count.up-to_1", (true, false)),
        ("Greeter.greet", (true, true)),
        ("Model.embed", (true, false)),
        ("Model.reset", (false, false)),
        ("Model:small.embed", (true, false)),
        ("Model:small.reset", (false, false)),
        ("add", (true, true)),
        ("declared", (true, false)),
        ("double", (true, false)),
        ("hidden", (false, true)),
    ];
    let mut found = marks(client.functions().await.unwrap());
    found.retain(|name, _| !name.starts_with("Greeter:"));
    let expected = expected.map(|(name, marks)| (name.to_owned(), marks));
    assert_eq!(found, BTreeMap::from(expected));
}

#[tokio::test]
async fn a_function_is_a_tool_if_one_node_says_so_and_idempotent_if_all_do() {
    let world = World::start().await;
    let _new = world.node_builder().functions(functions![add, double]).serve().await.unwrap();
    let older = functions![older::add, older::double];
    let _older = world.node_builder().functions(older).serve().await.unwrap();
    let listed = world.client().await.functions().await.unwrap();
    let timeouts: Vec<_> = listed.iter().map(|it| it.timeout).collect();
    assert_eq!(timeouts, [Some(Duration::from_secs(2)), None]);
    let found = marks(listed);
    let expected = [("add".to_owned(), (true, false)), ("double".to_owned(), (true, false))];
    assert_eq!(found, BTreeMap::from(expected));
}
