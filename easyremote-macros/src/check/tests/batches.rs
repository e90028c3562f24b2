//! Batch functions: what they take, what they return, and what they cannot be combined with.

use super::{messages, refuses};

const BATCH: &str = "batch(max = 32, wait = \"5ms\")";

#[test]
fn batch_functions_are_accepted() {
    for (options, item) in [
        ("batch", "fn f(texts: Vec<String>) -> Vec<Vec<f32>> { x }"),
        (
            "batch(max = 1)",
            "async fn f(a: Vec<u8>, mut b: std::vec::Vec<(u8, u8)>) -> Vec<()> { x }",
        ),
        ("batch(wait = \"0ms\",), concurrency = 1", "fn f(a: Vec<u8>) -> Vec<Result<u8, E>> { x }"),
        ("batch(max = 9, weigh = a::b)", "fn f(a: Vec<u8>) -> io::Result<Vec<u8>> { x }"),
        ("batch, idempotent, timeout = \"1s\", name = \"g\"", "fn f(a: Vec<u8>) -> Vec<u8> { x }"),
        ("batch, needs = \"gpu\", stub = F", "fn f(a: Vec<u8>) -> Vec<u8> { x }"),
        ("batch, err = \"display\"", "fn f(a: Vec<u8>) -> Vec<anyhow::Result<u8>> { x }"),
        ("batch, err = \"display\"", "fn f(a: Vec<u8>) -> anyhow::Result<Vec<u8>> { x }"),
        ("batch, plain", "fn f(a: Vec<u8>) -> Vec<QueryResult> { x }"),
        ("batch, implements = api::f", "fn f(#[state] m: &M, a: Vec<u8>) -> Vec<u8> { x }"),
        ("batch", "fn f(#[ctx] callers: &[Context], a: Vec<u8>) -> Vec<u8> { x }"),
        ("batch", "fn f(#[ctx] c: &'_ [easyremote::Context], a: Vec<u8>) -> Vec<u8> { x }"),
    ] {
        let found = messages(options, item);
        assert!(found.is_empty(), "#[remote({options})] {item}: {found:#?}");
    }
}

#[test]
fn batch_functions_take_lists() {
    for (item, part) in [
        ("fn f(a: String) -> Vec<u8> { x }", "write `a: Vec<String>`"),
        ("fn f(a: [u8; 4]) -> Vec<u8> { x }", "write `a: Vec<[u8; 4]>`"),
        ("fn f() -> Vec<u8> { x }", "add an argument, like `texts: Vec<String>`"),
        ("fn f(#[state] m: &M) -> Vec<u8> { x }", "add an argument"),
        ("fn f(a: Vec<&str>) -> Vec<u8> { x }", "write `String` instead of `&str`"),
        (
            "fn f(a: Vec<u8>, #[ctx] c: &Context) -> Vec<u8> { x }",
            "a batch has a context per caller: write `#[ctx] c: &[Context]`",
        ),
        (
            "async fn f(a: Vec<u8>, s: impl Stream<Item = u8>) -> Vec<u8> { x }",
            "a batch has no client streams: write `s: Vec<u8>`, or drop `batch`",
        ),
    ] {
        refuses(BATCH, item, &[part]);
    }
    refuses("", "fn f(#[ctx] c: &[Context]) {}", &["write `#[ctx] c: &Context`"]);
}

#[test]
fn batch_functions_return_lists() {
    for (item, part) in [
        ("fn f(a: Vec<u8>) {}", "write `-> Vec<T>`, or `-> Vec<()>` if there is none"),
        ("fn f(a: Vec<u8>) -> u8 { x }", "one result per element: write `Vec<u8>`"),
        (
            "fn f(a: Vec<u8>) -> Result<u8, E> { x }",
            "write `Vec<Result<u8, E>>` for an error per element, or `Result<Vec<T>, E>`",
        ),
        (
            "fn f(a: Vec<u8>) -> Result<Vec<Result<u8, E>>, F> { x }",
            "an error is of one element or of all: write `Vec<Result<u8, E>>`",
        ),
        ("fn f(a: Vec<u8>) -> Vec<&str> { x }", "write `String` instead of `&str`"),
    ] {
        refuses(BATCH, item, &[part]);
    }
    refuses(
        "batch, plain",
        "fn f(a: Vec<u8>) -> Result<Vec<u8>, E> { x }",
        &["one result per element"],
    );
    refuses(
        "batch, err = \"display\"",
        "fn f(a: Vec<u8>) -> Vec<u8> { x }",
        &["there is no error to display"],
    );
}

#[test]
fn a_batch_is_neither_a_stream_nor_inline_nor_detached() {
    let list = "fn f(a: Vec<u8>) -> Vec<u8> { x }";
    refuses("batch, inline", list, &["`inline` cannot be combined with `batch`"]);
    refuses("detached, batch", list, &["`detached` cannot be combined with `batch`"]);
    refuses(
        "stream, batch",
        "fn f(a: Vec<u8>) -> impl Stream<Item = u8> { x }",
        &["`stream` cannot be combined with `batch`: each caller of a batch gets one result"],
    );
    refuses(
        "batch",
        "fn f(a: u8) -> u8;",
        &["`batch` sets how a node runs the function, but this only declares it"],
    );
}
