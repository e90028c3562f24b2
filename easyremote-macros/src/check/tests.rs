use crate::args::Options;
use crate::check::{block, check, service};
use crate::mistakes::Mistakes;
use crate::model::block::Block;
use crate::model::owner::Owner;
use crate::model::service::Service;
use crate::model::{self, Under};

mod batches;
mod methods;

mod operators;
mod options;
mod tools;

/// The messages about `item` under `#[remote(options)]`.
fn messages(options: &str, item: &str) -> Vec<String> {
    let mut mistakes = Mistakes::default();
    let options = Options::parse(options.parse().unwrap(), &mut mistakes);
    let item = item.parse().unwrap();
    let checked = match model::under(&item) {
        Under::Function => model::parse(item).map(|it| check(&it, &options, &mut mistakes)),
        Under::Block => Block::parse(item).map(|it| {
            block::check(&it, &Owner::of_block(&it, &options), &options, &mut mistakes);
        }),
        Under::Trait => Service::parse(item).map(|it| {
            service::check(&it, &Owner::of_service(&it, &options), &options, &mut mistakes);
        }),
    };
    if let Err(error) = checked {
        mistakes.push(error);
    }
    mistakes.messages()
}

/// Asserts that there is one message for each of `parts`, and that it contains it.
#[track_caller]
fn refuses(options: &str, item: &str, parts: &[&str]) {
    let messages = messages(options, item);
    let all_found = messages.iter().zip(parts).all(|(message, part)| message.contains(part));
    assert!(
        messages.len() == parts.len() && all_found,
        "#[remote({options})] {item}\n  expected {parts:#?}\n  found {messages:#?}"
    );
}

#[test]
fn functions_that_can_be_remote_are_accepted() {
    for (options, item) in [
        ("", "fn f() {}"),
        ("", "pub(crate) fn f(a: i64, mut b: Vec<u8>) -> i64 { a }"),
        ("", "async fn f(a: Option<(String, [u8; 4])>) -> Result<Vec<f32>, E> { x }"),
        ("", "fn f(a: Cow<'static, str>) -> io::Result<Cow<'static, str>> { x }"),
        ("", "fn f(a: PhantomData<fn(&str) -> &str>) {}"),
        ("inline", "fn r#type(r#match: u8) -> u8 { 0 }"),
        ("plain", "fn f() -> QueryResult { x }"),
        ("name = \"a.b:c/d-e_F9\", timeout = \"30s\",", "fn größe() {}"),
        ("stream", "fn f() -> impl Iterator<Item = u8> { x }"),
        ("stream", "fn f() -> impl DoubleEndedIterator<Item = u8> + Send + use<> { x }"),
        ("stream", "async fn f() -> impl futures::Stream<Item = Result<u8, E>> + 'static { x }"),
        ("stream", "async fn f() -> io::Result<impl Stream<Item = u8>> { x }"),
        ("stream", "fn f() -> Box<dyn Iterator<Item = u8> + Send> { x }"),
        ("stream", "fn f() -> Pin<Box<dyn Stream<Item = u8> + Send>> { x }"),
        ("stream", "fn f() -> Result<BoxStream<'static, u8>, E> { x }"),
        ("stream", "fn f() -> (impl Iterator<Item = u8>) { x }"),
        ("stream", "fn f() -> Box<dyn Iterator<Item = u8>> { x }"),
        ("inline", "fn f(#[state] a: &Model, #[state] b: &Model, #[ctx] c: &Context) {}"),
        (
            "stream, idempotent",
            "fn f(#[resume] done: u64, to: u64) -> impl Iterator<Item = u8> { x }",
        ),
        ("stream, replay = \"1MiB\"", "fn f(to: u64) -> impl Iterator<Item = u8> { x }"),
        ("resumable", "async fn f(name: String, a: impl Stream<Item = u8>) -> u64 { x }"),
        ("resumable, timeout = \"1h\"", "async fn f(a: impl Stream<Item = u8>) -> u64;"),
        ("", "async fn f(a: u8, #[ctx] _: &easyremote::Context, #[state] (a, b): &(A, B)) {}"),
        ("", "fn f(#[state] a: &'_ Mutex<&'static str>, #[allow(x)] #[state] b: &Box<dyn T>) {}"),
        ("", "async fn f(a: u8, mut b: impl Stream<Item = Result<Vec<u8>, E>>, c: u8) {}"),
        ("", "async fn f(a: impl futures::Stream<Item = u8> + Send + Unpin + 'static) {}"),
        ("stream", "fn f(a: impl Stream<Item = u8>) -> impl Stream<Item = u8> { x }"),
        (
            "stream",
            "async fn f(a: (impl Stream<Item = u8>)) -> Result<BoxStream<'static, u8>, E> {}",
        ),
        ("stream", "fn f(#[state] m: &M) -> impl Stream<Item = u8> + '_ { x }"),
        ("stream", "fn f(#[ctx] c: &Context) -> Result<BoxStream<'_, u8>, E> { x }"),
        ("stream", "fn f(#[state] m: &M) -> Box<dyn Iterator<Item = u8> + '_> { x }"),
        ("name = \"a.b\", timeout = \"1s\", idempotent", "pub async fn f(a: u8) -> Vec<f32>;"),
        (
            "stream, err = \"display\"",
            "fn f(a: impl Stream<Item = u8>) -> MyResult<impl Stream<Item = MyResult<u8>>>;",
        ),
        (
            "implements = api::f, inline, detached, concurrency = 2, needs = \"gpu\"",
            "fn größe() {}",
        ),
        ("idempotent, detached, err = \"display\"", "async fn f() -> anyhow::Result<()> { x }"),
        (
            "err = \"display\", plain, stream",
            "fn f() -> io::Result<impl Stream<Item = XResult>> { x }",
        ),
        ("concurrency = 1, stream, needs = \"a, b\"", "fn f() -> impl Iterator<Item = u8> { x }"),
    ] {
        refuses(options, item, &[]);
    }
}

#[test]
fn all_mistakes_of_one_function_are_reported() {
    refuses(
        "inline, tiemout = \"30s\", timeout = \"30\", name = \"a b\"",
        "const async unsafe fn main<'a, T>(self, (a, b): (T, &str), c: &mut T) -> &'a str { x }",
        &[
            "unknown option `tiemout`; did you mean `timeout`?",
            "\"250ms\", \"30s\", \"5m\" or \"1h\"",
            "not a `const` one",
            "not an `unsafe` one",
            "`main` cannot be remote",
            "has a ` `",
            "cannot have lifetimes",
            "cannot be generic",
            "put `#[remote]` on the `impl` block or the trait, not on the method",
            "write `name: (T, &str)` and destructure inside",
            "write `String` instead of `&str`",
            "take `c: T` and return the new value",
            "an `async fn` never leaves the async threads",
            "write `String` instead of `&'a str`",
        ],
    );
}

#[test]
fn wire_names_are_checked() {
    let long = "a".repeat(129);
    for (options, item, part) in [
        ("name = \"\"", "fn f() {}", "is empty"),
        ("name = \"a b\"", "fn f() {}", "has a ` `"),
        ("name = \"a\\n\"", "fn f() {}", "has a `\\n`"),
        ("name = \"easyremote.x\"", "fn f() {}", "reserved"),
        ("", "fn größe() {}", "has a `ö`"),
        (&format!("name = \"{long}\""), "fn f() {}", "has 129 bytes, 128 are allowed"),
        ("", &format!("fn {long}() {{}}"), "choose another one with `name"),
    ] {
        refuses(options, item, &[part]);
    }
}

#[test]
fn what_is_not_a_plain_function_is_refused() {
    for (item, part) in [
        ("struct S;", "goes on a function"),
        ("const X: i32 = 1;", "goes on a function"),
        ("extern \"C\" { fn f(); }", "goes on a function"),
        ("", "goes on a function"),
        ("fn f(&self) {}", "put `#[remote]` on the `impl` block or the trait"),
        ("fn f() -> Self { x }", "name the type; `#[remote]` for methods goes on the `impl` block"),
        ("#[remote(skip)] fn f() {}", "is given twice"),
        ("const fn f() {}", "not a `const` one"),
        ("unsafe fn f() {}", "not an `unsafe` one"),
        ("extern \"C\" fn f() {}", "not an `extern` one"),
        ("fn main() {}", "`main` cannot be remote"),
        ("#[tokio::test] async fn f() {}", "a test cannot be remote"),
        ("#[remote] fn f() {}", "`#[remote]` is given twice"),
    ] {
        refuses("", item, &[part]);
    }
    refuses("skip", "fn f() {}", &["`skip` leaves out a method of a `#[remote]` block"]);
    refuses("", "unsafe extern \"C\" fn f(a: i64, ...) {}", &["`unsafe`", "`extern`", "variadic"]);
}

#[test]
fn generic_functions_are_refused() {
    for (item, part) in [
        ("fn sum<T>(v: Vec<T>) -> T { x }", "write one function per type, e.g. `fn sum_f32(..)`"),
        ("fn sum<T>(v: T) where T: Add {}", "write one function per type"),
        ("fn sum<const N: usize>(v: [u8; N]) {}", "write one function per length"),
        ("fn sum<'a>(v: u8) {}", "cannot have lifetimes"),
        ("fn sum(v: u8) where u8: Copy {}", "have no `where` clause"),
        ("fn sum(v: impl Display) {}", "a concrete type instead of `impl Trait`"),
        ("fn sum(v: Vec<impl Display>) {}", "a concrete type instead of `impl Trait`"),
        ("fn sum() -> impl Display { x }", "a concrete type instead of `impl Trait`"),
        ("fn sum() -> impl Future<Output = u8> { x }", "write `async fn sum(..)`"),
        ("fn sum() -> BoxFuture<'static, u8> { x }", "write `async fn sum(..)`"),
    ] {
        refuses("", item, &[part]);
    }
}

#[test]
fn borrowed_data_is_refused() {
    for (item, part) in [
        ("fn f(name: &str) {}", "`#[remote]` arguments are owned: write `name: String`"),
        ("fn f(name: &[Vec<u8>]) {}", "write `name: Vec<Vec<u8>>`"),
        ("fn f(path: &std::path::Path) {}", "write `path: PathBuf`"),
        ("fn f(m: &Model) {}", "write `m: Model`, or `#[state] m: &Model` for what the node keeps"),
        ("fn f(c: &easyremote::Context) {}", "write `#[ctx] c: &easyremote::Context`"),
        ("fn f(m: &HashMap<String, u8>) {}", "write `m: HashMap<String, u8>`"),
        ("fn f(v: &mut Vec<u8>) {}", "take `v: Vec<u8>` and return the new value"),
        ("fn f(v: Vec<&str>) {}", "write `String` instead of `&str`"),
        ("fn f(v: Cow<'_, str>) {}", "use a type without `'_`"),
        ("fn f() -> &'static str { x }", "owned data: write `String` instead of `&'static str`"),
        ("fn f() -> Option<&'static [u8]> { x }", "write `Vec<u8>` instead of"),
        ("fn f() -> Ref<'_, u8> { x }", "use a type without `'_`"),
    ] {
        refuses("", item, &[part]);
    }
    refuses("stream", "fn f() -> impl Iterator<Item = &'static str> { x }", &["write `String`"]);
    refuses("stream", "fn f() -> impl Iterator<Item = u8> + '_ { x }", &["without `'_`"]);
}

#[test]
fn arguments_are_plain_names() {
    let many = (0..17).map(|n| format!("a{n}: u8")).collect::<Vec<_>>().join(", ");
    for (item, part) in [
        ("fn f((a, b): (i32, i32)) {}", "write `name: (i32, i32)` and destructure inside"),
        ("fn f(_: i32) {}", "write `_unused: i32`"),
        ("fn f(ref a: i32) {}", "plain names: write `name: i32`"),
        ("fn f(#[cfg(x)] a: u8) {}", "put `#[cfg]` on the function"),
        ("fn f(#[cfg(x)] #[state] a: &M) {}", "put `#[cfg]` on the function"),
        ("async fn f(_: impl Stream<Item = u8>) {}", "write `_unused: impl Stream<Item = u8>`"),
        (&format!("fn f({many}) {{}}"), "takes up to 16 arguments: group them in a struct"),
    ] {
        refuses("", item, &[part]);
    }
}

/// Sixteen arguments, and more that are none.
#[test]
fn only_arguments_are_counted() {
    let many = (0..16).map(|n| format!("a{n}: u8")).collect::<Vec<_>>().join(", ");
    let others = "#[state] m: &M, #[ctx] c: &Context, s: impl Stream<Item = u8>";
    refuses("", &format!("async fn f({others}, {many}) {{}}"), &[]);
    refuses("", &format!("async fn f({others}, {many}, b: u8) {{}}"), &["up to 16 arguments"]);
}

#[test]
fn state_and_context_are_borrowed_from_the_node() {
    for (item, part) in [
        ("fn f(#[state] llm: Llm) {}", "lends its state: write `#[state] llm: &Llm`"),
        ("fn f(#[state] llm: Arc<Llm>) {}", "write `#[state] llm: &Arc<Llm>`"),
        (
            "fn f(#[state] llm: &mut Llm) {}",
            "at the same time and share it: write `#[state] llm: &Llm`",
        ),
        ("fn f(#[state] llm: &'static Llm) {}", "for one call: write `#[state] llm: &Llm`"),
        ("fn f(#[state] _: Llm) {}", "write `#[state] state: &Llm`"),
        ("fn f(#[state] name: &str) {}", "of known size: write `#[state] name: &String`"),
        ("fn f(#[state] list: &[u8]) {}", "write `#[state] list: &Vec<u8>`"),
        ("fn f(#[state] llm: &dyn Llm) {}", "write `#[state] llm: &Arc<dyn Llm>`"),
        ("fn f(#[state] llm: &(dyn Llm + Send)) {}", "write `#[state] llm: &Arc<dyn Llm + Send>`"),
        ("fn f(#[state] llm: &impl Llm) {}", "a concrete type instead of `impl Trait`"),
        ("fn f(#[state] list: &Vec<&str>) {}", "lasts as long as the node: write `String`"),
        ("fn f(#[state] name: &Cow<'_, str>) {}", "use a type without `'_`"),
        ("fn f(#[state(x)] llm: &Llm) {}", "`#[state]` takes no value"),
        ("fn f(#[state] #[state] llm: &Llm) {}", "`#[state]` is given twice"),
        ("fn f(#[ctx] #[state] ctx: &Context) {}", "write one of them"),
        ("fn f(#[ctx] ctx: Context) {}", "the context is lent: write `#[ctx] ctx: &Context`"),
        ("fn f(#[ctx] ctx: &mut er::Context) {}", "share it: write `#[ctx] ctx: &er::Context`"),
        ("fn f(#[ctx] ctx: &'static Context) {}", "for one call: write `#[ctx] ctx: &Context`"),
        ("fn f(#[ctx] c: &Llm) {}", "write `#[ctx] c: &Context`, or `#[state] c: &Llm`"),
        ("fn f(#[ctx] c: &Context<'_>) {}", "write `#[ctx] c: &Context`, or"),
        ("fn f(#[ctx] a: &Context, b: u8, #[ctx] c: &Context) {}", "take `#[ctx]` once"),
        ("fn f(#[state] s: impl Stream<Item = u8>) {}", "comes from the caller: drop `#[state]`"),
    ] {
        refuses("", item, &[part]);
    }
    refuses(
        "",
        "fn f<'a>(#[state] llm: &'a Llm) {}",
        &["cannot have lifetimes", "write `#[state] llm: &Llm`"],
    );
    for (item, part) in [
        ("fn f(#[state] m: &M) -> impl Iterator<Item = &str> { x }", "write `String`"),
        ("fn f(#[state] m: &M) -> impl Iterator<Item = Cow<'_, str>> { x }", "without `'_`"),
        (
            "fn f(#[state] m: &M) -> Result<impl Stream<Item = u8>, Cow<'_, str>> { x }",
            "without `'_`",
        ),
        ("fn f(#[state] m: &M) -> BoxStream<'_, Cow<'_, str>> { x }", "without `'_`"),
    ] {
        refuses("stream", item, &[part]);
    }
    refuses("", "fn f(#[state] m: &M) -> &str { x }", &["returns owned data: write `String`"]);
}

#[test]
fn a_function_can_read_its_one_client_stream() {
    for (options, item, part) in [
        ("", "fn f(a: impl Stream<Item = u8>) {}", "write `async fn`: a sync function cannot"),
        ("", "fn f(a: impl Stream<Item = u8>) -> u64 { x }", "write `async fn`"),
        (
            "",
            "async fn f(a: impl Stream<Item = u8>, b: impl Stream<Item = u8>) {}",
            "one client stream per call; merge them into one stream of an enum",
        ),
        (
            "stream",
            "fn f(a: impl Stream<Item = u8>) -> Result<impl Iterator<Item = u16>, E> { x }",
            "write `impl Stream<Item = u16>`: an iterator cannot await its client stream",
        ),
        (
            "stream",
            "async fn f(a: impl Stream<Item = u8>) -> Box<dyn Iterator<Item = u16> + Send> { x }",
            "write `impl Stream<Item = u16>`",
        ),
        ("", "async fn f(a: impl Stream) {}", "write `a: impl Stream<Item = T>`"),
        ("", "async fn f(a: BoxStream<'static, u8>) {}", "write `a: impl Stream<Item = u8>`"),
        (
            "",
            "async fn f(a: Pin<Box<dyn Stream<Item = u8> + Send>>) {}",
            "write `a: impl Stream<Item = u8>`",
        ),
        ("", "fn f(a: impl Iterator<Item = u8>) {}", "write `a: Vec<u8>`, or `a: impl Stream"),
        ("", "async fn f(a: impl Stream<Item = &str>) {}", "are owned: write `String`"),
        ("", "async fn f(a: impl Stream<Item = impl Display>) {}", "instead of `impl Trait`"),
        ("", "async fn f(a: Vec<impl Stream<Item = u8>>) {}", "instead of `impl Trait`"),
        ("stream", "fn f(a: impl Stream<Item = u8>) -> Vec<u8> { x }", "`list.into_iter()`"),
        ("", "fn f(a: impl Stream<Item = u8>) -> impl Stream<Item = u8> { x }", "(stream)]"),
        ("inline", "async fn f(a: impl Stream<Item = u8>) {}", "never leaves the async threads"),
    ] {
        refuses(options, item, &[part]);
    }
    refuses(
        "inline",
        "fn f(a: impl Stream<Item = u8>) {}",
        &["write `async fn`", "`inline` cannot be combined with a client stream"],
    );
}

#[test]
fn streams_and_the_option_go_together() {
    for item in [
        "fn f() -> impl Iterator<Item = u8> { x }",
        "async fn f() -> Result<impl Stream<Item = u8>, E> { x }",
        "fn f() -> Box<dyn Iterator<Item = u8> + Send> { x }",
    ] {
        refuses("", item, &["this returns a stream: write `#[remote(stream)]`"]);
    }
    for (item, part) in [
        ("fn f() {}", "return one, or drop `stream`"),
        ("fn f() -> Vec<u8> { x }", "return `list.into_iter()`"),
        ("fn f() -> MyStream { x }", "`MyStream` does not show its items here"),
        ("fn f() -> Result<u8, E> { x }", "`Result<u8, E>` does not show its items here"),
        ("fn f() -> impl Iterator { x }", "the type of the items is not visible here"),
        ("fn f() -> impl Stream<Item = impl Display> { x }", "instead of `impl Trait`"),
        ("fn f() -> Result<impl Stream<Item = u8>, impl Error> { x }", "instead of `impl Trait`"),
    ] {
        refuses("stream", item, &[part]);
    }
    for (item, part) in [
        (
            "fn f() -> Result<Pin<Box<dyn Stream<Item = u8>>>, E> { x }",
            "write `dyn Stream<Item = u8> + Send`",
        ),
        ("fn f() -> LocalBoxStream<'static, u8> { x }", "write `BoxStream<'static, u8>`"),
    ] {
        refuses("stream", item, &[part]);
    }
    refuses(
        "stream, inline",
        "fn f() -> impl Iterator<Item = u8> { x }",
        &["combined with `stream`"],
    );
}

#[test]
fn where_a_stream_goes_on_is_a_number_of_a_stream_that_may_run_twice() {
    let stream = "-> impl Stream<Item = u8> { x }";
    for (options, parameters, part) in [
        ("stream, idempotent", "#[resume] done: usize", "write `#[resume] done: u64`"),
        ("stream, idempotent", "#[resume] _: &u64", "write `#[resume] done: u64`"),
        ("stream, idempotent", "#[resume(x)] done: u64", "`#[resume]` takes no value"),
        ("stream, idempotent", "#[resume] #[ctx] done: u64", "drop the other attribute"),
        ("stream, idempotent", "#[resume] a: u64, #[resume] b: u64", "take `#[resume]` once"),
        ("stream", "#[resume] done: u64", "write `#[remote(stream, idempotent)]`"),
        (
            "stream, idempotent",
            "#[resume] done: u64, s: impl Stream<Item = u8>",
            "cannot be combined with a client stream",
        ),
    ] {
        refuses(options, &format!("fn f({parameters}) {stream}"), &[part]);
    }
    refuses("idempotent", "fn f(#[resume] done: u64) {}", &["and return a stream, or drop"]);
    refuses("replay = \"1MiB\"", "fn f() {}", &["write `stream` too, or drop `replay`"]);
}

#[test]
fn what_goes_on_without_further_ado_is_a_stream_that_the_caller_sends() {
    for (options, item, part) in [
        ("resumable", "async fn f(a: u8) {}", "take an `impl Stream<Item = T>`"),
        ("resumable, stream", "fn f() -> impl Stream<Item = u8> { x }", "with `.resumable()`"),
        (
            "resumable, stream",
            "fn f(a: impl Stream<Item = u8>) -> impl Stream<Item = u8> { x }",
            "for functions with one result",
        ),
        (
            "resumable, implements = api::f",
            "async fn f(a: impl Stream<Item = u8>) {}",
            "write `resumable` there",
        ),
    ] {
        refuses(options, item, &[part]);
    }
}
