//! Blocks and traits.

use crate::check::tests::refuses;

#[test]
fn methods_that_can_be_remote_are_accepted() {
    for (options, item) in [
        ("", "impl Model { fn f(&self) {} }"),
        ("name = \"ai.Model\", stub = Remote, crate = a::b", "impl Model { fn f(&self) {} }"),
        (
            "",
            "impl a::Model<f32, 'static> { pub async fn f(&'_ self, a: Self) -> [Self; Self::N] { x } }",
        ),
        (
            "",
            "#[cfg(x)] impl Model {
                #![allow(x)]
                const N: usize = 3;
                const M: Model = Model { a: 1 };
                type T = u8;
                helper! { x }
                helper!(x);
                fn new(a: &str) -> Self { x }
                default fn f(&mut self) {}
                #[remote(skip)] fn g<T>(&mut self, a: T) -> &T { x }
                #[remote(inline, plain, timeout = \"1s\", name = \"h.h\")] fn h(&self) -> R { x }
                #[easyremote::remote(stream)] fn i(&self) -> impl Stream<Item = Self> + '_ { x }
                #[cfg(unix)] fn j(&self) {}
                #[cfg(not(unix))] fn j(&self) {}
            }",
        ),
        ("", "impl Model { async fn main(&self, #[state] s: &S, a: impl Stream<Item = u8>) {} }"),
        ("", "pub(crate) trait Embedder: Sized + Display { fn f(&self); async fn g(&self) {} }"),
        (
            "name = \"e\"",
            "trait Embedder {
                #[remote(skip)] fn new() -> Self;
                #[remote(stream)] fn f(&self, #[ctx] c: &Context) -> BoxStream<'_, u8>;
            }",
        ),
    ] {
        refuses(options, item, &[]);
    }
}

#[test]
fn blocks_are_of_one_type() {
    for (item, part) in [
        (
            "impl a::Embedder for Model { fn f(&self) {} }",
            "itself; a node lists the implementation: `functions![EmbedderServer<Model>]`",
        ),
        ("unsafe impl Send for Model {}", "put `#[remote]` on the trait `Send` itself"),
        ("impl<T> Model<T> where T: X { fn f(&self) {} }", "for one, e.g. `impl Model<f32>`"),
        ("impl<const N: usize> Model<N> { fn f(&self) {} }", "for one, e.g. `impl Model<16>`"),
        ("impl<'a> Model<'a> { fn f(&self) {} }", "cannot borrow: drop `'a`"),
        ("impl Model<'_> { fn f(&self) {} }", "lasts as long as the node: use a type without `'_`"),
        ("impl Model where u8: Copy { fn f(&self) {} }", "drop the `where` clause"),
        ("impl dyn Embedder { fn f(&self) {} }", "the block of a type of your own"),
        ("impl Model {}", "no function here takes `&self`"),
        ("impl Model { fn new() -> Self { x } }", "no function here takes `&self`"),
        ("#[remote] impl Model { fn f(&self) {} }", "`#[remote]` is given twice"),
        ("impl Model", "expected the methods, in braces"),
        ("impl Model;", "expected the methods, in braces"),
        ("impl { fn f(&self) {} }", "expected"),
    ] {
        refuses("", item, &[part]);
    }
}

#[test]
fn options_of_blocks_are_for_all_methods() {
    let item = "impl Model { fn f(&self) {} }";
    for (options, part) in [
        ("stream", "`stream` is for one method: write `#[remote(stream)]` on it"),
        ("skip", "write `#[remote(skip)]` on it"),
        ("timeout = \"1s\"", "`timeout` is for one method: write `#[remote(timeout ..)]` on it"),
        ("name = \"\"", "is empty"),
        ("name = \"a:b\"", "has a `:`: only `A-Z a-z"),
        ("name = \"easyremote\"", "reserved"),
        ("name = \"easyremote.x\"", "reserved"),
        ("colour", "unknown option `colour`"),
    ] {
        refuses(options, item, &[part]);
        refuses(options, "trait Embedder { fn f(&self); }", &[part]);
    }
    refuses("", "impl Größe { fn f(&self) {} }", &["has a `ö`"]);
    refuses("", "impl easyremote { fn f(&self) {} }", &["reserved"]);
}

#[test]
fn methods_share_what_the_node_keeps() {
    for (method, part) in [
        ("fn f(&mut self) {}", "write `&self`, with a `Mutex` around what changes, or leave"),
        ("fn f(self) {}", "keeps the value: write `&self`, or leave the method out"),
        ("fn f(mut self) {}", "write `&self`"),
        ("fn f(self: Arc<Model>) {}", "write `&self`"),
        ("fn f(&'static self) {}", "lends the value for one call: write `&self`"),
        ("fn f(#[state] &self) {}", "is what the node keeps: drop `#[state]`"),
        ("fn f(&self, a: &str) {}", "write `a: String`"),
        ("fn f(&self, a: Vec<&Self>) {}", "owned: write `Model` instead of `&Model`"),
        ("fn f(&self) -> &str { x }", "write `String` instead of `&str`"),
        ("fn f<T>(&self, a: T) {}", "cannot be generic"),
        ("fn f(&self) where u8: Copy {}", "no `where` clause"),
        ("unsafe fn f(&self) {}", "not an `unsafe` one"),
        ("fn f(&self);", "a method of a block has a body"),
        ("fn f(&self) -> impl Iterator<Item = u8> { x }", "write `#[remote(stream)]`"),
        ("fn größe(&self) {}", "has a `ö`"),
        ("#[remote(colour)] fn f(&self) {}", "unknown option `colour`"),
        ("#[remote = 7] fn f(&self) {}", "options go in parentheses"),
        ("#[remote] #[remote] fn f(&self) {}", "`#[remote]` is given twice"),
        ("#[remote(crate = a)] fn f(&self) {}", "for all methods: write it on the block"),
        ("#[remote(skip, inline)] fn g(&self) {} fn f(&self) {}", "out: drop `inline`"),
        ("#[remote] fn new() {} fn f(&self) {}", "`new` has no receiver: add `&self`"),
        ("fn new(&self) {}", "`ModelClient` has its own `new`"),
        ("fn instance(&self) {}", "`ModelClient` has its own `instance`"),
        ("fn remote() {} fn f(&self) {}", "adds `Model::remote(&client)`: rename this one"),
        ("#[remote(skip)] fn remote(&self) {}", "adds `Model::remote(&client)`"),
        ("fn f(&self) {} #[remote(name = \"f\")] fn g(&self) {}", "two methods are called `f`"),
        (&format!("fn {}(&self) {{}}", "a".repeat(123)), "has 129 bytes, 128 are allowed"),
    ] {
        refuses("", &format!("impl Model {{ {method} }}"), &[part]);
    }
}

#[test]
fn all_mistakes_of_all_methods_are_reported() {
    refuses(
        "inline",
        "impl<T> Model<T> {
            fn f(&mut self, a: &str) {}
            #[remote(skip)] fn g(&mut self) {}
            #[remote(steam)] fn h(self) -> impl Iterator<Item = u8> { x }
        }",
        &[
            "`inline` is for one method",
            "cannot be generic",
            "with a `Mutex`",
            "write `a: String`",
            "did you mean `stream`?",
            "keeps the value",
            "write `#[remote(stream)]`",
        ],
    );
}

#[test]
fn remote_traits_have_methods_only() {
    for (item, part) in [
        (
            "trait E<T> { fn f(&self); }",
            "cannot be generic: callers and nodes must know every type",
        ),
        (
            "trait E where Self: Copy { fn f(&self); }",
            "no `where` clause: write the bounds of `Self`",
        ),
        ("unsafe trait E { fn f(&self); }", "an ordinary safe trait"),
        ("auto trait E { fn f(&self); }", "not an `auto` one"),
        ("trait E {}", "the trait has no methods"),
        ("trait E { type T; fn f(&self); }", "nor its types: drop this"),
        ("trait E { /// Doc.\n const N: u8; fn f(&self); }", "nor its constants"),
        ("trait E { m! {} fn f(&self); }", "has methods only"),
        ("trait E { fn new() -> u8; }", "add `&self`, or leave it out: `#[remote(skip)]`"),
        ("trait E { fn f(&self, a: u8) -> Vec<Self>; }", "does not know who implements the trait"),
        ("trait E { fn f(&self) -> [u8; Self::N]; }", "does not know who implements the trait"),
        ("trait E { fn f(&mut self); }", "with a `Mutex` around what changes"),
        ("trait E { fn f(self); }", "keeps the value"),
        ("trait E { #[remote(crate = a)] fn f(&self); }", "write it on the trait"),
        ("trait E { fn new(&self); }", "`EClient` has its own `new`"),
        ("trait E { fn f(&self, a: &str); }", "write `a: String`"),
        ("trait E = Send;", "expected the methods, in braces"),
        ("#[remote] trait E { fn f(&self); }", "`#[remote]` is given twice"),
    ] {
        refuses("", item, &[part]);
    }
}

#[test]
fn async_trait_is_refused_in_one_message_before_and_after_it_is_expanded() {
    // As `async_trait` 0.1 writes it.
    let expanded = "fn f<'life0, 'async_trait>(&'life0 self, a: String)
        -> ::core::pin::Pin<Box<dyn ::core::future::Future<Output = u8> + ::core::marker::Send + 'async_trait>>
        where 'life0: 'async_trait, Self: ::core::marker::Sync + 'async_trait";
    for item in [
        "#[async_trait] trait E { async fn f(&self, a: String) -> u8; }",
        "#[async_trait::async_trait] trait E { async fn f(&self); async fn g(&mut self, a: &str); }",
        "#[async_trait(?Send)] impl E for Model { async fn f(&self, a: String) -> u8 { 1 } }",
        &format!("trait E {{ {expanded}; fn g(&self); }}"),
        &format!("impl E for Model {{ fn g(&self) {{}} {expanded} {{ x }} }}"),
        &format!("impl Model {{ {expanded} {{ x }} }}"),
    ] {
        refuses("", item, &["drop it here and on the implementations"]);
    }
}
