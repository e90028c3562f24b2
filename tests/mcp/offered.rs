//! Tools of every kind, and what is no tool.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::SystemTime;

use common::{SayOnDrop, gate, say};
use easyremote::node::Functions;
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

/// Adds two numbers.
#[remote(tool, idempotent)]
fn add(
    /// The first number.
    a: i64,
    b: i64,
) -> i64 {
    a + b
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum MathError {
    ByZero { dividend: f64 },
    Overflow,
}

/// Divides.
#[remote(tool)]
fn divide(a: f64, b: f64) -> Result<f64, MathError> {
    if b == 0.0 { Err(MathError::ByZero { dividend: a }) } else { Ok(a / b) }
}

/// Counts, an item each time that a gate is open.
#[remote(tool, stream)]
fn count(to: u64, gates: Vec<u64>) -> impl Stream<Item = u64> {
    stream::iter(1..=to).then(move |n| {
        let gate = gates.get(n as usize - 1).copied();
        async move {
            gate::pass(gate.unwrap_or(gate::OPEN)).await;
            n
        }
    })
}

/// Some items are errors, and the set-up may fail.
#[remote(tool, stream)]
fn parsed(texts: Vec<String>) -> Result<impl Iterator<Item = Result<u8, MathError>>, String> {
    if texts.is_empty() {
        return Err("nothing to parse".to_owned());
    }
    Ok(texts.into_iter().map(|text| text.parse().map_err(|_| MathError::Overflow)))
}

/// Some items are errors that travel as text.
#[remote(tool, stream, err = "display")]
fn shown(texts: Vec<String>) -> impl Iterator<Item = Result<u8, std::num::ParseIntError>> {
    texts.into_iter().map(|text| text.parse())
}

/// Never ends by itself, and has a time limit.
#[remote(tool, stream, timeout = "300ms")]
fn forever() -> impl Stream<Item = char> {
    stream::iter(['a', 'b']).chain(stream::pending())
}

/// Ends as soon as it may.
#[remote(tool, stream)]
fn many(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

/// Waits for its end.
#[remote(tool)]
async fn nap(key: u64) -> u64 {
    let napping = Napping(key, SayOnDrop(key, "dropped"));
    napping.1.say("started");
    std::future::pending().await
}

/// Streams nothing until its end.
#[remote(tool, stream)]
fn quiet(key: u64) -> impl Stream<Item = u64> {
    let napping = Napping(key, SayOnDrop(key, "dropped"));
    napping.1.say("started");
    stream::once(async move {
        let _napping = napping;
        std::future::pending().await
    })
}

/// When functions were dropped, by their keys.
static DROPPED: Mutex<Option<HashMap<u64, SystemTime>>> = Mutex::new(None);

struct Napping(u64, SayOnDrop);

impl Drop for Napping {
    fn drop(&mut self) {
        let mut dropped = DROPPED.lock().unwrap();
        dropped.get_or_insert_default().insert(self.0, SystemTime::now());
    }
}

/// When the function with this key was dropped.
pub(crate) fn dropped_at(key: u64) -> SystemTime {
    DROPPED.lock().unwrap().as_ref().unwrap()[&key]
}

/// Ends when a gate opens.
#[remote(tool)]
async fn wait(gate: u64, key: u64) -> String {
    say(key, "started");
    gate::pass(gate).await;
    "done".to_owned()
}

/// Returns a text of this length.
#[remote(tool)]
fn long(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// Panics.
#[remote(tool)]
fn panics() -> u8 {
    panic!("on purpose")
}

/// Doubles.
#[remote(tool, batch(max = 4))]
fn double(numbers: Vec<i64>) -> Vec<i64> {
    numbers.into_iter().map(|number| 2 * number).collect()
}

/// Returns nothing.
#[remote(tool, name = "Odd.name-2_x")]
fn nothing() {}

/// Is declared, and implemented elsewhere.
#[remote(tool)]
async fn declared(a: u8) -> u8;

#[remote(implements = declared)]
fn declared_here(a: u8) -> u8 {
    a
}

/// Returns the metadata of its caller.
#[remote(tool)]
fn tenant(#[ctx] context: &easyremote::Context) -> Option<String> {
    context.metadata("tenant").map(str::to_owned)
}

/// Is no tool.
#[remote]
fn hidden() -> u8 {
    7
}

pub(crate) struct Model(pub(crate) usize);

#[remote]
impl Model {
    /// The layers of a model.
    #[remote(tool, idempotent)]
    fn layers(&self) -> usize {
        self.0
    }
}

#[remote]
trait Greeter {
    /// Greets.
    #[remote(tool)]
    async fn greet(&self, name: String) -> String;
}

impl Greeter for Model {
    async fn greet(&self, name: String) -> String {
        format!("hello {name} from {} layers", self.0)
    }
}

/// A type with much of what serde knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thing {
    pub(crate) name: String,
    pub(crate) size: Option<u32>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) near: std::collections::BTreeMap<String, (i16, bool)>,
    pub(crate) inner: Option<Box<Thing>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Tag {
    Plain,
    Weight(f64),
    Both(u8, String),
    Named { at: i64 },
}

impl Thing {
    pub(crate) fn random(random: &mut fastrand::Rng, depth: u32) -> Self {
        let text = |random: &mut fastrand::Rng| -> String {
            let n = random.usize(..6);
            std::iter::repeat_with(|| random.char(..)).take(n).collect()
        };
        let tags = (0..random.usize(..4)).map(|_| match random.u8(..4) {
            0 => Tag::Plain,
            1 => Tag::Weight(f64::from(random.i32(..)) / 8.0),
            2 => Tag::Both(random.u8(..), "b".repeat(random.usize(..3))),
            _ => Tag::Named { at: random.i64(..) >> random.u32(..64) },
        });
        let tags = tags.collect();
        let near = (0..random.usize(..3)).map(|n| (n.to_string(), (random.i16(..), random.bool())));
        let near = near.collect();
        let name = text(random);
        let size = random.bool().then(|| random.u32(..));
        let deeper = depth > 0 && random.bool();
        let inner = deeper.then(|| Box::new(Self::random(random, depth - 1)));
        Self { name, size, tags, near, inner }
    }
}

/// Returns what it gets.
#[remote(tool)]
fn echo(thing: Thing, also: Option<Tag>) -> (Thing, Option<Tag>) {
    (thing, also)
}

/// What a node offers, without the functions of a `Model`.
pub(crate) fn functions() -> Functions {
    functions![
        add,
        divide,
        count,
        parsed,
        shown,
        forever,
        many,
        nap,
        quiet,
        wait,
        long,
        panics,
        double,
        nothing,
        declared_here,
        tenant,
        hidden,
        echo,
        Model,
        GreeterServer<Model>
    ]
}
