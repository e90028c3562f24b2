//! What a node runs for each kind of function.

use proc_macro2::TokenStream;

use crate::expand::tests::parts;

#[test]
fn handlers_of_functions_with_arguments_only() {
    for (options, item, expected) in [
        ("", "fn f(a: u8) {}", "P::blocking::<Self>(|_, (a,)| { f(a) })"),
        ("inline", "fn f(a: u8) {}", "P::inline::<Self>(|_, (a,)| { f(a) })"),
        (
            "",
            "async fn f(a: u8) {}",
            "P::asynchronous::<Self, _>(|_, (a,)| { async move { f(a).await } })",
        ),
        (
            "stream",
            "fn f(a: u8) -> impl Iterator<Item = u8> {}",
            "P::iterator::<Self>(|_, (a,), sink| { P::StreamSink::iterate(sink, OK(f(a))) })",
        ),
        (
            "stream",
            "fn f(a: u8) -> Result<impl Iterator<Item = u8>, E> {}",
            "P::iterator::<Self>(|_, (a,), sink| { P::StreamSink::iterate(sink, f(a)) })",
        ),
        (
            "stream",
            "async fn f(a: u8) -> impl Iterator<Item = u8> {}",
            "P::async_iterator::<Self, _>(|_, (a,), sink| {
                async move { P::StreamSink::iterate(sink, OK(f(a).await)) }
            })",
        ),
        (
            "stream",
            "async fn f(a: u8) -> Result<impl Iterator<Item = u8>, E> {}",
            "P::async_iterator::<Self, _>(|_, (a,), sink| {
                async move { P::StreamSink::iterate(sink, f(a).await) }
            })",
        ),
        (
            "stream",
            "fn f(a: u8) -> impl Stream<Item = u8> {}",
            "P::stream::<Self, _>(|_, (a,), sink| { async move { P::StreamSink::forward(sink, OK(f(a))).await } })",
        ),
        (
            "stream",
            "fn f(a: u8) -> Result<impl Stream<Item = u8>, E> {}",
            "P::stream::<Self, _>(|_, (a,), sink| { async move { P::StreamSink::forward(sink, f(a)).await } })",
        ),
        (
            "stream",
            "async fn f(a: u8) -> Result<impl Stream<Item = u8>, E> {}",
            "P::stream::<Self, _>(|_, (a,), sink| { async move { P::StreamSink::forward(sink, f(a).await).await } })",
        ),
    ] {
        handles(options, item, expected);
    }
}

#[test]
fn handlers_of_operators() {
    for (options, item, expected) in [
        ("operator", "fn f(r: R) -> Option<U> {}", "P::mapping::<Self>(|_, item, ()| { f(item) })"),
        (
            "operator",
            "fn f(r: R, a: u8) -> U {}",
            "P::mapping::<Self>(|_, item, (a,)| { ::core::option::Option::Some(f(item, P::copied(a))) })",
        ),
        (
            "operator, plain",
            "fn f(r: R) -> Option<U> {}",
            "P::mapping::<Self>(|_, item, ()| { ::core::option::Option::Some(f(item)) })",
        ),
        (
            "operator",
            "fn f(#[ctx] c: &Context, r: &R, #[state] m: &Model, a: u8) -> bool {}",
            "P::filtering::<Self>(|inputs, item, (a,)| {
                f(inputs.context(), item, inputs.state::<Model>(), P::copied(a))
            })
            .needs_state::<Model>()",
        ),
    ] {
        handles(options, item, expected);
    }
}

#[test]
fn handlers_of_functions_that_borrow_from_the_node() {
    for (options, item, expected) in [
        (
            "",
            "fn f(#[state] m: &Model, a: u8) {}",
            "P::blocking::<Self>(|inputs, (a,)| { f(inputs.state::<Model>(), a) })
                .needs_state::<Model>()",
        ),
        (
            "inline",
            "fn f(a: u8, #[ctx] c: &Context) {}",
            "P::inline::<Self>(|inputs, (a,)| { f(a, inputs.context()) })",
        ),
        (
            "",
            "async fn f(#[state] l: &a::L<u8>, #[state] _: &M, #[ctx] c: &Context, #[state] n: &M) {}",
            "P::asynchronous::<Self, _>(|inputs, ()| {
                async move {
                    f(
                        inputs.state::<a::L<u8>>(),
                        inputs.state::<M>(),
                        inputs.context(),
                        inputs.state::<M>()
                    ).await
                }
            })
            .needs_state::<a::L<u8>>()
            .needs_state::<M>()",
        ),
        (
            "stream",
            "fn f(#[state] m: &Model) -> impl Iterator<Item = u8> {}",
            "P::iterator::<Self>(|inputs, (), sink| {
                P::StreamSink::iterate(sink, OK(f(inputs.state::<Model>())))
            })
            .needs_state::<Model>()",
        ),
        (
            "stream",
            "async fn f(#[state] m: &Model) -> impl Iterator<Item = u8> {}",
            "P::async_iterator::<Self, _>(|inputs, (), sink| {
                async move { P::StreamSink::iterate(sink, OK(f(inputs.state::<Model>()).await)) }
            })
            .needs_state::<Model>()",
        ),
        (
            "stream",
            "fn f(#[state] m: &Model, a: u8) -> impl Stream<Item = u8> {}",
            "P::stream::<Self, _>(|inputs, (a,), sink| {
                async move { P::StreamSink::forward(sink, OK(f(inputs.state::<Model>(), a))).await }
            })
            .needs_state::<Model>()",
        ),
    ] {
        handles(options, item, expected);
    }
}

#[test]
fn handlers_of_batch_functions() {
    for (options, item, expected) in [
        (
            "batch(max = 8, wait = \"1ms\")",
            "fn f(a: Vec<u8>, b: Vec<u8>) -> Vec<u8> {}",
            "P::batch::<Self, _>(P::BatchLimits::new(8, 1000), |_| 1, |_, (a, b)| { f(a, b) })",
        ),
        (
            "batch(max = 8, weigh = m::weight), concurrency = 1",
            "async fn f(#[state] m: &Model, #[ctx] c: &[Context], a: Vec<u8>) -> Result<Vec<u8>, E> {}",
            "P::async_batch::<Self, _>(
                P::BatchLimits::new(8, 5000),
                |(a,)| P::Weight::weight(m::weight(a)),
                |inputs, (a,)| {
                    async move { f(inputs.state::<Model>(), inputs.callers(), a).await }
                }
            )
            .needs_state::<Model>()
            .concurrency(1)",
        ),
    ] {
        handles(options, item, expected);
    }
}

#[test]
fn handlers_of_functions_with_a_client_stream() {
    for (options, item, expected) in [
        (
            "",
            "async fn f(a: u8, chunks: impl Stream<Item = Bytes> + Unpin, b: u8) -> u64 {}",
            "P::asynchronous::<Self, _>(|mut inputs, (a, b)| {
                async move { let upload = inputs.upload::<Bytes>(); f(a, upload, b).await }
            })",
        ),
        (
            "stream",
            "fn f(s: impl Stream<Item = u8>, #[state] m: &M) -> Result<impl Stream<Item = u8>, E> {}",
            "P::stream::<Self, _>(|mut inputs, (), sink| {
                async move {
                    let upload = inputs.upload::<u8>();
                    P::StreamSink::forward(sink, f(upload, inputs.state::<M>())).await
                }
            })
            .needs_state::<M>()",
        ),
        (
            "stream",
            "async fn f(s: impl Stream<Item = u8>) -> impl Stream<Item = u8> {}",
            "P::stream::<Self, _>(|mut inputs, (), sink| {
                async move {
                    let upload = inputs.upload::<u8>();
                    P::StreamSink::forward(sink, OK(f(upload).await)).await
                }
            })",
        ),
    ] {
        handles(options, item, expected);
    }
}

/// Asserts that a node runs `expected` for `item`. There the arguments are called as in `item`.
#[track_caller]
fn handles(options: &str, item: &str, expected: &str) {
    let found = handler(options.parse().unwrap(), item.parse().unwrap())
        .replace("argument_0", "a")
        .replace("argument_1", "b");
    let expected = expected.replace("OK", "::core::result::Result::<_, P::Never>::Ok");
    // The layout breaks long calls; what counts is the code.
    let tight = |text: &str| text.replace([' ', '\n', ',', '{', '}'], "");
    assert_eq!(tight(&found), tight(&expected), "{item}");
}

/// What a node runs for `item`.
fn handler(options: TokenStream, item: TokenStream) -> String {
    let text = parts(options, item, &["P::Local"]);
    let start = text.find("P::Handler {").unwrap() + "P::Handler {".len();
    let body = text[start..].trim_end().trim_end_matches('}').trim_end().trim_end_matches('}');
    body.split_whitespace().collect::<Vec<_>>().join(" ")
}
