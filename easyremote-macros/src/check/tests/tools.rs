//! Functions for agents.

use super::refuses;

const DOC: &str = "/// Does it.\n";

#[test]
fn functions_of_every_kind_are_tools() {
    for (options, item) in [
        ("tool", "fn f() {}"),
        ("tool, idempotent, inline, timeout = \"1s\"", "fn f(a: u8) -> Result<u8, E> { x }"),
        ("tool, detached, needs = \"gpu\"", "async fn f(#[state] m: &M, #[ctx] c: &Context) {}"),
        ("tool, name = \"Math.add-2_x\"", "fn größe() {}"),
        ("tool, stream", "fn f() -> Result<impl Iterator<Item = Result<u8, E>>, E> { x }"),
        ("tool, stream, idempotent", "fn f(#[resume] n: u64) -> impl Stream<Item = u8> { x }"),
        ("tool, batch(max = 2)", "fn f(a: Vec<u8>) -> Vec<u8> { a }"),
        ("tool", "async fn f(a: u8) -> u8;"),
    ] {
        refuses(options, &format!("{DOC}{item}"), &[]);
    }
    let methods = format!(
        "{{ {DOC} #[remote(tool)] fn f(&self) {{}} {DOC} #[remote(tool, name = \"g.h\")] fn g(&self) {{}} }}"
    );
    refuses("", &format!("impl Model {methods}"), &[]);
    refuses("name = \"a.b-c\"", &format!("trait Model {methods}"), &[]);
}

#[test]
fn a_tool_has_a_description() {
    let part = "agents choose a tool by its description";
    for doc in ["", "///\n", "///   \n", "#[doc = include_str!(\"x\")]", "#[doc(hidden)]"] {
        for item in ["fn f() {}", "fn f();"] {
            refuses("tool", &format!("{doc}{item}"), &[part]);
        }
        let method = format!("{doc} #[remote(tool)] fn f(&self);");
        refuses("", &format!("trait Model {{ {method} }}"), &[part]);
    }
    refuses("tool", "#[doc = \"Does it.\"] fn f() {}", &[]);
    refuses("tool, batch", "fn f(a: Vec<u8>) -> Vec<u8> { a }", &[part]);
}

#[test]
fn the_name_of_a_tool_has_no_colon_and_no_slash() {
    for odd in ["a:b", "a/b", "/", ":", "v1/x.y"] {
        let part = format!("and `{odd}` has a `{}`", if odd.contains(':') { ':' } else { '/' });
        refuses(&format!("tool, name = \"{odd}\""), &format!("{DOC}fn f() {{}}"), &[&part]);
        refuses(&format!("name = \"{odd}\""), &format!("{DOC}fn f() {{}}"), &[]);
    }
    let methods = format!("{{ {DOC} #[remote(tool)] fn f(&self) {{}} {DOC} fn g(&self) {{}} }}");
    refuses("name = \"a/b\"", &format!("impl Model {methods}"), &["and `a/b` has a `/`"]);
    refuses("name = \"a/b\"", &format!("trait Model {methods}"), &["and `a/b` has a `/`"]);
}

#[test]
fn agents_send_no_stream() {
    for (options, result) in [("", "u8"), (", stream", "impl Stream<Item = u8>")] {
        let item = format!("{DOC}async fn f(a: impl Stream<Item = u8>) -> {result} {{ x }}");
        refuses(&format!("tool{options}"), &item, &["which no agent can send"]);
    }
}

#[test]
fn tools_are_marked_one_by_one_where_callers_see_them() {
    refuses(
        "tool",
        "impl Model { fn f(&self) {} }",
        &["`tool` is for one method: write `#[remote(tool)]` on it"],
    );
    refuses(
        "tool, implements = api::f",
        "fn f() {}",
        &["callers see the declaration: write `tool` there, at `api::f`"],
    );
}
