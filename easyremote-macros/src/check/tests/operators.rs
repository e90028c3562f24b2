//! Operators: what they take, what they return, and what they cannot be combined with.

use super::{messages, refuses};

#[test]
fn operators_are_accepted() {
    for (options, item) in [
        ("operator", "fn f(r: Reading, limit: f64) -> Option<Celsius> { x }"),
        ("operator", "fn f(r: Reading) -> Kelvin { x }"),
        ("operator", "fn f(r: &Reading, limit: f64) -> bool { x }"),
        ("operator", "fn f(r: &'_ a::Reading) -> bool { x }"),
        ("operator", "fn f(r: bool) -> bool { x }"),
        ("operator", "fn f((): ()) -> bool { x }"),
        ("operator", "fn f(#[state] m: &M, r: &Vec<u8>, #[ctx] c: &Context, n: u8) -> bool { x }"),
        (
            "operator, name = \"a.f\", stub = F, crate = a",
            "fn f(r: u8) -> std::option::Option<u8> { x }",
        ),
        ("operator, plain", "fn f(r: u8) -> Option<u8> { x }"),
        ("operator, plain", "fn f(r: u8) -> Result<u8, String> { x }"),
        ("operator", "fn f(r: u8, n: u8) -> u8;"),
        ("operator, implements = api::f", "fn f(#[state] m: &M, r: u8) -> u8 { x }"),
    ] {
        let found = messages(options, item);
        let named = found.iter().all(|text| text.contains("need a name"));
        assert!(
            named && (found.is_empty() || item.contains("()")),
            "#[remote({options})] {item}: {found:#?}"
        );
    }
}

#[test]
fn operators_take_items() {
    for (item, part) in [
        ("fn f() -> u8 { x }", "add them as the first parameter, like `item: Reading`"),
        ("fn f(#[state] m: &M) -> u8 { x }", "add them as the first parameter"),
        ("fn f(r: &mut Reading) -> bool { x }", "take `r: Reading` and return the new item"),
        ("fn f(r: &Reading) -> Option<u8> { x }", "to make other items of them write `r: Reading`"),
        ("fn f(r: &Reading) {}", "returns `bool`"),
        ("fn f(r: &str) -> bool { x }", "write `r: &String`"),
        ("fn f(r: &[u8]) -> bool { x }", "write `r: &Vec<u8>`"),
        ("fn f(r: &'static Reading) -> bool { x }", "lent for one call: write `r: &Reading`"),
        ("fn f(r: &Vec<&u8>) -> bool { x }", "write `u8` instead of `&u8`"),
        ("fn f(r: Vec<&u8>) -> bool { x }", "write `u8` instead of `&u8`"),
        ("fn f(r: u8, name: &str) -> u8 { x }", "write `name: String`"),
        ("fn f(r: impl Stream<Item = u8>) -> u8 { x }", "takes one item at a time, and no stream"),
        ("fn f(r: u8, #[resume] n: u64) -> u8 { x }", "`#[resume]` is for the function"),
    ] {
        let found = messages("operator", item);
        assert!(found.iter().any(|text| text.contains(part)), "{item}: {found:#?}");
    }
}

#[test]
fn operators_return_items() {
    for (item, part) in [
        ("fn f(r: u8) {}", "an operator returns what it makes of an item"),
        ("fn f(r: u8) -> Result<u8, String> { x }", "an operator has no error of its own"),
        ("fn f(r: u8) -> impl Iterator<Item = u8> { x }", "at most one item of each"),
        ("fn f(r: u8) -> BoxFuture<'static, u8> { x }", "cannot wait"),
        ("fn f(r: u8) -> &'static str { x }", "write `String` instead of"),
        ("async fn f(r: u8) -> u8 { x }", "an operator is a plain `fn`"),
    ] {
        refuses("operator", item, &[part]);
    }
    refuses(
        "operator",
        "fn f(&self, r: u8) -> u8 { x }",
        &["an operator is a function, not a method"],
    );
}

#[test]
fn operators_have_no_calls() {
    for (option, part) in [
        ("stream", "it makes one item of each"),
        ("inline", "it always runs where the items are produced"),
        ("err = \"display\"", "it has no error of its own"),
        ("batch", "`batches` of a stream"),
        ("idempotent", "write it there"),
        ("detached", "write it there"),
        ("timeout = \"1s\"", "write it there"),
        ("concurrency = 1", "write it there"),
        ("needs = \"gpu\"", "write it there"),
        ("replay = \"1MiB\"", "write it there"),
        ("resumable", "write it there"),
        ("tool", "an agent calls the function that it is applied to"),
        ("skew = \"by-name\"", "both sides have the same types"),
    ] {
        let name = option.split(' ').next().unwrap();
        let rule = format!("`{name}` cannot be combined with `operator`");
        refuses(&format!("operator, {option}"), "fn f(r: u8) -> u8 { x }", &[&rule]);
        refuses(&format!("operator, {option}"), "fn f(r: u8) -> u8 { x }", &[part]);
    }
}
