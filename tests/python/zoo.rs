//! Functions with parameters, results and names of every shape, for generated stubs.

use std::collections::BTreeMap;

use easyremote::node::Functions;
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    celsius: f64,
    at: u64,
    note: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
enum Color {
    Red,
    #[serde(rename = "dark \"blue\"")]
    Blue,
}

#[derive(Debug, Serialize, Deserialize)]
enum Shape {
    Nothing,
    Circle { radius: f64, color: Color },
    Square(f64),
    Corner(f64, f64),
    Unit(()),
}

#[derive(Debug, Serialize, Deserialize)]
struct Tree {
    value: i64,
    children: Vec<Tree>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Expression {
    Number(i64),
    Sum(Box<Expression>, Box<Expression>),
    Negative { of: Box<Expression> },
}

#[derive(Debug, Serialize, Deserialize)]
struct Loop(Vec<Loop>);

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Event {
    Start,
    Stop { code: i32 },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Number(i64),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Serialize, Deserialize)]
struct Pair(i32, String);

/// Its fields have names that mean something else in Python.
#[derive(Debug, Serialize, Deserialize)]
struct Odd {
    from: u8,
    #[serde(rename = "max-speed")]
    max_speed: u8,
    #[serde(rename = "1st")]
    first: u8,
    int: u8,
    str: u8,
    __secret: u8,
    #[serde(default)]
    class: Option<u8>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Empty {}

/// A type with the name of one that stubs use.
#[derive(Debug, Serialize, Deserialize)]
struct Client {
    name: String,
}

mod other {
    use serde::{Deserialize, Serialize};

    /// Another type with this name.
    #[derive(Debug, Serialize, Deserialize)]
    pub(crate) struct Client {
        pub(crate) number: u32,
    }
}

#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
enum Refusal {
    #[error("too large: {0}")]
    TooLarge(u64),
    #[error("closed")]
    Closed,
}

#[remote]
fn same_reading(reading: Reading) -> Reading {
    reading
}

#[remote]
fn same_color(color: Color) -> Color {
    color
}

#[remote]
fn same_shape(shape: Shape) -> Shape {
    shape
}

#[remote]
fn same_tree(tree: Tree) -> Tree {
    tree
}

#[remote]
fn same_expression(expression: Expression) -> Expression {
    expression
}

#[remote]
fn same_loop(looped: Loop) -> Loop {
    looped
}

#[remote]
fn same_event(event: Event) -> Event {
    event
}

#[remote]
fn same_either(either: Either) -> Either {
    either
}

#[remote]
fn same_pair(pair: Pair, unit: Unit, empty: Empty) -> (Pair, Unit, Empty) {
    (pair, unit, empty)
}

#[remote]
fn same_odd(odd: Odd) -> Odd {
    odd
}

#[remote]
fn same_clients(one: Client, two: other::Client) -> (Client, other::Client) {
    (one, two)
}

type Maps = (BTreeMap<String, u64>, BTreeMap<u32, Vec<u8>>, BTreeMap<Color, bool>);

#[remote]
fn same_maps(
    by_text: BTreeMap<String, u64>,
    by_number: BTreeMap<u32, Vec<u8>>,
    by_color: BTreeMap<Color, bool>,
) -> Maps {
    (by_text, by_number, by_color)
}

#[remote]
fn same_small(
    byte: u8,
    large: u128,
    letter: char,
    flag: bool,
    triple: [i32; 3],
    long: [i32; 9],
    none: (),
) -> (u8, u128, char, bool, [i32; 3], [i32; 9], ()) {
    (byte, large, letter, flag, triple, long, none)
}

/// Greets somebody.
///
/// With a \ and """quotes""", and an é.
#[remote]
fn greet(
    /// Who it is.
    name: String,
    /// How often;
    /// once, unless given.
    times: Option<u32>,
    mark: Option<char>,
) -> String {
    let mark = mark.map(String::from).unwrap_or_default();
    format!("hello {name}{mark}").repeat(times.unwrap_or(1) as usize)
}

#[remote]
fn keywords(lambda: u8, r#in: u8, pass: u8, cast: u8, int: u8, result: u8, self_: u8) -> Vec<u8> {
    vec![lambda, r#in, pass, cast, int, result, self_]
}

#[remote(name = "class")]
fn a_keyword() -> u8 {
    1
}

#[remote(name = "int")]
fn a_type() -> u8 {
    2
}

#[remote(name = "_client")]
fn an_attribute() -> u8 {
    3
}

#[remote(name = "Model.embed")]
fn a_method(text: String) -> usize {
    text.len()
}

#[remote(name = "model_embed")]
fn its_twin(text: String) -> usize {
    text.len() + 1
}

#[remote]
fn check(n: u64) -> Result<u64, Refusal> {
    match n {
        0 => Err(Refusal::Closed),
        n if n > 9 => Err(Refusal::TooLarge(n)),
        n => Ok(n),
    }
}

#[remote]
fn check_text(n: u64) -> Result<(), String> {
    if n == 0 { Ok(()) } else { Err(n.to_string()) }
}

#[remote(stream)]
fn readings(n: u64) -> impl Iterator<Item = Reading> {
    (0..n).map(|at| Reading { celsius: 0.5, at, note: None, tags: Vec::new() })
}

#[remote(stream)]
async fn checked(n: u64) -> Result<impl Stream<Item = Result<u64, String>>, Refusal> {
    match n {
        0 => Err(Refusal::Closed),
        n => Ok(stream::iter((0..n).map(|n| if n == 1 { Err("one".to_owned()) } else { Ok(n) }))),
    }
}

#[remote]
async fn sum_of(items: u64, readings: impl Stream<Item = Reading>) -> f64 {
    readings.fold(items as f64, async |sum, reading| sum + reading.celsius).await
}

#[remote(stream)]
fn shapes(shapes: impl Stream<Item = Shape>) -> impl Stream<Item = Shape> {
    shapes
}

#[remote(operator)]
fn warm(reading: Reading, limit: f64) -> Option<Reading> {
    (reading.celsius > limit).then_some(reading)
}

pub(crate) fn all() -> Functions {
    functions![
        a_keyword,
        a_method,
        a_type,
        an_attribute,
        check,
        check_text,
        checked,
        greet,
        its_twin,
        keywords,
        readings,
        same_clients,
        same_color,
        same_either,
        same_event,
        same_expression,
        same_loop,
        same_maps,
        same_odd,
        same_pair,
        same_reading,
        same_shape,
        same_small,
        same_tree,
        shapes,
        sum_of,
        warm,
    ]
}
