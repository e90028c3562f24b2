//! Declarations, implementations, and the options that go into a descriptor.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::tests::{expansion, parts};

/// With one blank between two tokens.
fn tight(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_declaration_is_its_stub_and_nothing_else() {
    let expected = r#"/// The remote function `embed`; its implementation is elsewhere.
///
/// Embeds.
#[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
pub struct embed<__Signature = fn(String) -> Vec<f32>> {
    signature: ::core::marker::PhantomData<fn() -> __Signature>,
}
#[allow(deprecated)]
impl P::Remote for embed {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "embed",
            P::Kind::Unary,
            ::core::file!(),
            ::core::line!(),
        )
        .parameters(&["text"])
        .doc("Embeds.")
        .idempotent();
    type Arguments = (String,);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_unary::<Self>)
    }
}
#[allow(deprecated)]
impl P::Idempotent for embed {}
#[allow(deprecated)]
impl P::RemoteUnary for embed {
    type Output = P::Plain<Vec<f32>>;
}
#[allow(deprecated)]
impl embed {
    /// Calls `embed` on a node: `embed::call(&client, text).await`.
    ///
    /// Options such as `.timeout(..)` are set before the `.await`, and nothing is sent before it. Dropping the call cancels it.
    #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
    pub fn call(client: &P::Client, text: String) -> P::Call<Self> {
        P::call(client, (text,))
    }
    /// Calls `embed` with each of `inputs`, on all nodes that offer it: `embed::map(&client, inputs).concurrency(64)` is a stream of the results.
    #[allow(dead_code, private_interfaces, private_bounds)]
    pub fn map<__Inputs>(
        client: &P::Client,
        inputs: __Inputs,
    ) -> P::Map<Self, __Inputs::IntoIter>
    where
        __Inputs: ::core::iter::IntoIterator<Item = String>,
    {
        P::map(client, inputs, |input| (input,))
    }
}
"#;
    let item = quote! {
        /// Embeds.
        #[must_use] pub async fn embed(text: String) -> Vec<f32>;
    };
    assert_eq!(expansion(quote!(idempotent), item), expected);
}

#[test]
fn every_kind_can_be_declared() {
    for item in [
        quote!(
            fn f() -> impl Iterator<Item = u8>;
        ),
        quote!(
            async fn f(a: impl Stream<Item = u8>) -> Result<impl Stream<Item = u8>, E>;
        ),
    ] {
        let text = expansion(quote!(stream), item);
        assert!(text.contains("P::StreamCall<Self>") && !text.contains("P::Local"), "{text}");
    }
    let item = quote!(
        async fn f(a: impl Stream<Item = u8>);
    );
    let text = expansion(quote!(), item);
    assert!(text.contains("P::call_with") && !text.contains("P::Local"), "{text}");
    assert!(text.contains("fn written(_: impl Stream<Item = u8>) {}"), "{text}");
}

#[test]
fn an_implementation_is_described_by_its_declaration() {
    let item = quote! {
        /// Not what callers see.
        #[cfg(unix)]
        async fn embed(#[state] m: &Model, text: String) -> Vec<f32> {}
    };
    let text =
        parts(quote!(implements = api::embed), item, &["P::Remote for", "P::Implements for"]);
    let expected = r#"#[cfg(unix)]
#[allow(deprecated)]
impl P::Remote for embed {
    const DESCRIPTOR: P::Descriptor = <api::embed as P::Remote>::DESCRIPTOR
        .implemented_at(::core::file!(), ::core::line!());
    type Arguments = (String,);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        <api::embed as P::Remote>::signature()
    }
}
#[cfg(unix)]
#[allow(deprecated)]
impl P::Implements for embed {
    type Arguments = P::TheseArguments<<api::embed as P::Remote>::Arguments, (String,)>;
    type Upload = P::ThisUpload<<api::embed as P::Remote>::Upload, P::Never>;
    type Output = P::ThisResult<
        <api::embed as P::RemoteUnary>::Output,
        P::Plain<Vec<f32>>,
    >;
}
"#;
    assert_eq!(text, expected);
}

#[test]
fn an_implementation_is_compared_as_it_is_written() {
    for (options, item, expected) in [
        (
            quote!(stream, implements = tail),
            quote!(
                fn f(id: u64) -> Result<impl Iterator<Item = Row>, E> {}
            ),
            "P::ThisStream<<tail as P::RemoteStream>::Setup,<tail as P::RemoteStream>::Item,Result<(),E>,P::Plain<Row>>;",
        ),
        (
            quote!(stream, err = "display", implements = ::a::b),
            quote!(
                fn f() -> MyResult<impl Stream<Item = MyResult<u8>>> {}
            ),
            "<::a::b as P::RemoteStream>::Item,P::Displayed<MyResult<()>>,P::Displayed<MyResult<u8>>>;",
        ),
        (
            quote!(implements = up),
            quote!(
                async fn f(s: impl Stream<Item = Bytes>) {}
            ),
            "P::ThisUpload<<up as P::Remote>::Upload,Bytes>;",
        ),
        (
            quote!(implements = up, err = "display"),
            quote!(
                async fn f() -> io::Result<u8> {}
            ),
            "P::ThisResult<<up as P::RemoteUnary>::Output,P::Displayed<io::Result<u8>>>;",
        ),
    ] {
        let text = tight(&parts(options, item, &["P::Implements for"]));
        // The layout breaks long types, with a comma after the last.
        let text = text.replace(", ", ",").replace("< ", "<").replace(",>", ">");
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[test]
fn errors_that_travel_as_text_are_wrapped() {
    for (options, returned, expected) in [
        (
            quote!(),
            quote!(-> anyhow::Result<u8>),
            "type Output = P::Displayed<anyhow::Result<u8>>;",
        ),
        (
            quote!(stream),
            quote!(-> Result<impl Iterator<Item = Result<u8, E>>, F>),
            "type Setup = P::Displayed<Result<(), F>>; type Item = P::Displayed<Result<u8, E>>;",
        ),
        (
            quote!(stream),
            quote!(-> impl Stream<Item = io::Result<u8>>),
            "type Setup = P::Plain<()>; type Item = P::Displayed<io::Result<u8>>;",
        ),
        (
            quote!(stream, plain),
            quote!(-> io::Result<impl Stream<Item = QueryResult>>),
            "type Setup = P::Displayed<io::Result<()>>; type Item = P::Plain<QueryResult>;",
        ),
    ] {
        let options: TokenStream = quote!(err = "display", #options);
        let item = quote!(fn f() #returned {});
        let text = tight(&parts(options, item, &["P::RemoteUnary for", "P::RemoteStream for"]));
        assert!(text.contains(expected), "{returned}: {text}");
    }
}

#[test]
fn a_handler_has_the_terms_of_its_function() {
    let options = quote!(inline, detached, concurrency = 8, needs = "gpu, eu");
    let item = quote!(
        fn f(#[state] m: &M) {}
    );
    let text = tight(&parts(options, item, &["P::Local for"]));
    let expected = ".needs_state::<M>() .detached() .concurrency(8) .needs(&[\"gpu\", \"eu\"])";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn functions_without_names_are_found_by_their_entries() {
    let text = expansion(
        quote!(stub = Add),
        quote!(
            fn add() {}
        ),
    );
    assert!(text.contains("P::submit!(P::only:: < Add >);"), "{text}");
}
