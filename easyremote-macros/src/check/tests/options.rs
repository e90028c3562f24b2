//! Options that do not fit their function, and those of a declaration and its implementation.

use super::refuses;

#[test]
fn a_declaration_says_what_callers_see() {
    for (options, key) in [
        ("inline", "inline"),
        ("detached", "detached"),
        ("concurrency = 8", "concurrency"),
        ("needs = \"gpu\"", "needs"),
    ] {
        let part = format!("`{key}` sets how a node runs the function, but this only declares it");
        refuses(options, "fn f(a: u8) -> u8;", &[&part]);
    }
    for (item, part) in [
        (
            "fn f(#[state] m: &M);",
            "write `#[state]` at the implementation, `#[remote(implements = f",
        ),
        ("fn f(a: u8, #[ctx] c: &Context);", "write `#[ctx]` at the implementation"),
        ("fn f(a: &str);", "write `a: String`"),
        ("fn f<T>(a: T);", "cannot be generic"),
        ("fn f(a: impl Stream<Item = u8>);", "write `async fn`"),
    ] {
        refuses("", item, &[part]);
    }
    refuses("stream", "fn f() -> impl Iterator<Item = u8> + use<>;", &["drop `use<..>`"]);
    refuses("implements = api::f", "fn f();", &["an implementation has a body: write `{ .. }`"]);
    refuses(
        "inline, needs = \"gpu\"",
        "fn f(#[state] m: &M);",
        &["`inline` sets how", "`needs` sets how", "write `#[state]` at the implementation"],
    );
}

#[test]
fn an_implementation_says_how_a_node_runs_it() {
    for (options, key) in [
        ("implements = api::f, name = \"a\"", "name"),
        ("implements = api::f, timeout = \"1s\"", "timeout"),
        ("idempotent, implements = api::f", "idempotent"),
        ("skew = \"lossy\", implements = api::f", "skew"),
    ] {
        let part = format!("callers see the declaration: write `{key}` there, at `api::f`");
        refuses(options, "fn f() {}", &[&part]);
    }
}

#[test]
fn detached_functions_give_one_result() {
    refuses(
        "stream, detached",
        "fn f() -> impl Stream<Item = u8> { x }",
        &["cannot be combined with `stream`: without its caller no one reads the items"],
    );
    refuses(
        "detached",
        "async fn f(a: impl Stream<Item = u8>) {}",
        &["cannot be combined with a client stream"],
    );
}

#[test]
fn errors_that_travel_as_text_are_those_of_a_result() {
    for (options, item) in [
        ("err = \"display\"", "fn f() {}"),
        ("err = \"display\"", "fn f() -> u8 { x }"),
        ("err = \"display\", plain", "fn f() -> QueryResult { x }"),
        ("err = \"display\", stream", "fn f() -> impl Stream<Item = u8> { x }"),
        ("err = \"display\", stream, plain", "fn f() -> impl Stream<Item = QResult> { x }"),
        ("err = \"display\"", "fn f() -> u8;"),
    ] {
        refuses(options, item, &["there is no error to display: return a `Result<T, E>`"]);
    }
}
