//! What is written for blocks.

use quote::quote;

use crate::expand::remote;
use crate::expand::tests::{expansion, parts};

const A_BLOCK: &str = r#"#[cfg(unix)]
impl a::Model {
    const N: usize = 3;
    #[allow(dead_code)]
    /// Embeds.
    ///
    /// All of it.
    pub async fn embed(&self, texts: [String; Self::N]) -> Vec<Self> {
        x
    }
    fn new() -> Self {
        x
    }
    fn rename(&mut self, name: &str) -> Self {
        x
    }
}
#[cfg(unix)]
/// Remote stub of `Model::embed`.
#[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
pub struct Model_embed<
    __Signature = fn(a::Model, [String; <a::Model>::N]) -> Vec<a::Model>,
> {
    signature: ::core::marker::PhantomData<fn() -> __Signature>,
}
#[cfg(unix)]
#[allow(deprecated)]
impl P::Remote for Model_embed {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "ai.Model.embed",
            P::Kind::Unary,
            ::core::file!(),
            ::core::line!(),
        )
        .method_of("ai.Model")
        .parameters(&["texts"])
        .doc("Embeds.\n\nAll of it.");
    type Arguments = ([String; <a::Model>::N],);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_unary::<Self>)
    }
}
#[cfg(unix)]
#[allow(deprecated)]
impl P::RemoteUnary for Model_embed {
    type Output = P::Plain<Vec<a::Model>>;
}
#[cfg(unix)]
#[allow(deprecated)]
impl P::Local for Model_embed {
    fn handler() -> P::Handler {
        P::asynchronous::<
            Self,
            _,
        >(|inputs, (argument_0,)| {
                async move {
                    <a::Model>::embed(inputs.receiver::<a::Model>(), argument_0).await
                }
            })
            .needs_receiver::<a::Model>()
    }
}
#[cfg(unix)]
/// Calls the remote methods of the `Model` that nodes keep.
///
/// Cheap to clone. It has the options of the client that it was created with.
#[allow(dead_code)]
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct ModelClient {
    instance: P::Instance,
}
#[cfg(unix)]
impl ModelClient {
    /// Creates a handle to the nodes' state of this type.
    #[allow(dead_code)]
    #[must_use]
    pub fn new(client: &P::Client) -> Self {
        Self {
            instance: P::Instance::new(client),
        }
    }
    /// Creates a handle to the nodes' instance of this name.
    ///
    /// With an invalid name, each call fails.
    #[allow(dead_code)]
    #[must_use]
    pub fn instance(&self, name: &::core::primitive::str) -> Self {
        Self {
            instance: P::Instance::named(&self.instance, name),
        }
    }
    #[cfg(unix)]
    /// Embeds.
    ///
    /// All of it.
    #[allow(dead_code, deprecated, private_interfaces, clippy::too_many_arguments)]
    pub fn embed(&self, texts: [String; <a::Model>::N]) -> P::Call<Model_embed> {
        P::Instance::call(&self.instance, (texts,))
    }
}
#[cfg(unix)]
impl a::Model {
    /// Calls the remote methods of the value that nodes keep.
    #[allow(dead_code)]
    #[must_use]
    pub fn remote(client: &P::Client) -> ModelClient {
        ModelClient {
            instance: P::Instance::new(client),
        }
    }
}
#[cfg(unix)]
impl P::Listed for a::Model {
    fn functions() -> P::Functions {
        #[allow(unused_mut)]
        let mut functions = <P::Functions as ::core::default::Default>::default();
        #[cfg(unix)]
        P::Functions::extend(&mut functions, <Model_embed as P::Listed>::functions());
        functions
    }
}
#[cfg(unix)]
P::submit!(< a::Model as P::Listed > ::functions);
"#;

#[test]
fn a_block() {
    let item = quote! {
        #[cfg(unix)]
        impl a::Model {
            const N: usize = 3;
            /// Embeds.
            ///
            /// All of it.
            pub async fn embed(&self, texts: [String; Self::N]) -> Vec<Self> { x }
            fn new() -> Self { x }
            #[remote(skip)]
            fn rename(&mut self, name: &str) -> Self { x }
        }
    };
    assert_eq!(expansion(quote!(name = "ai.Model"), item), A_BLOCK);
}

const A_STREAM_OF_A_BLOCK: &str = r#"/// Remote stub of `Model::tokens`.
#[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
pub(super) struct Tokens<__Signature = fn(Model, u8, Model) -> u8> {
    signature: ::core::marker::PhantomData<fn() -> __Signature>,
}
#[allow(deprecated)]
impl P::Local for Tokens {
    fn handler() -> P::Handler {
        P::stream::<
            Self,
            _,
        >(|mut inputs, (argument_0,), sink| {
                async move {
                    let upload = inputs.upload::<Model>();
                    P::StreamSink::forward(
                            sink,
                            ::core::result::Result::<
                                _,
                                P::Never,
                            >::Ok(
                                <Model>::tokens(
                                    inputs.receiver::<Model>(),
                                    inputs.state::<Log>(),
                                    upload,
                                    argument_0,
                                    inputs.context(),
                                ),
                            ),
                        )
                        .await
                }
            })
            .needs_receiver::<Model>()
            .needs_state::<Log>()
    }
}
/// Calls the remote methods of the `Model` that nodes keep.
///
/// Cheap to clone. It has the options of the client that it was created with.
#[allow(dead_code)]
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub(super) struct Remote {
    instance: P::Instance,
}
impl Remote {
    /// Creates a handle to the nodes' state of this type.
    #[allow(dead_code)]
    #[must_use]
    pub(super) fn new(client: &P::Client) -> Self {
        Self {
            instance: P::Instance::new(client),
        }
    }
    /// Creates a handle to the nodes' instance of this name.
    ///
    /// With an invalid name, each call fails.
    #[allow(dead_code)]
    #[must_use]
    pub(super) fn instance(&self, name: &::core::primitive::str) -> Self {
        Self {
            instance: P::Instance::named(&self.instance, name),
        }
    }
    /// Calls `Model.t` on a node.
    #[deprecated]
    #[allow(dead_code, deprecated, private_interfaces, clippy::too_many_arguments)]
    pub(super) fn tokens(
        &self,
        audio: impl P::Stream<Item = Model> + ::core::marker::Send + 'static,
        to: u8,
    ) -> P::StreamCall<Tokens> {
        P::Instance::stream_call_with(&self.instance, (to,), audio)
    }
    #[cfg(unix)]
    /// Calls `Model.unix` on a node.
    #[allow(dead_code, deprecated, private_interfaces, clippy::too_many_arguments)]
    fn unix(&self) -> P::Call<Model_unix> {
        P::Instance::call(&self.instance, ())
    }
}
"#;

#[test]
fn the_parts_of_a_block_that_a_stream_differs_in() {
    let item = quote! {
        impl Model {
            #[deprecated]
            #[remote(stream, name = "t", stub = Tokens, timeout = "1s")]
            pub(super) fn tokens(
                &self,
                #[state] log: &Log,
                audio: impl Stream<Item = Self>,
                to: u8,
                #[ctx] ctx: &Context,
            ) -> impl Stream<Item = u8> { x }
            #[cfg(unix)]
            fn unix(&self) {}
        }
    };
    let wanted = [
        "impl Model {\n    pub(super)",
        "struct Tokens",
        "struct Remote",
        "impl Remote",
        "Local for Tokens",
        "P::Remote for Tokens",
        "P::Listed for",
    ];
    assert_eq!(
        parts(quote!(stub = Remote, crate = a), item, &wanted).replace("a::__private", "P"),
        A_STREAM_OF_A_BLOCK
    );
}

/// The handle of a type reaches as far as one of its methods does.
#[test]
fn the_widest_visibility_counts() {
    for (methods, expected) in [
        ("fn a(&self) {} pub fn b(&self) {} pub(crate) fn c(&self) {}", "pub struct"),
        ("fn a(&self) {} pub(super) fn b(&self) {} pub(crate) fn c(&self) {}", "pub(crate) struct"),
        ("fn a(&self) {} pub(super) fn b(&self) {}", "pub(super) struct"),
        (
            "pub(super) fn b(&self) {} pub(in super::super) fn c(&self) {}",
            "pub(in super::super) struct",
        ),
        (
            "pub(in crate::a::b) fn b(&self) {} pub(in crate::a) fn c(&self) {}",
            "pub(in crate::a) struct",
        ),
        ("fn a(&self) {} pub(self) fn b(&self) {} pub fn new() {}", "\npub(self) struct"),
    ] {
        let item = format!("impl Model {{ {methods} }}").parse().unwrap();
        let text = expansion(quote!(), item);
        assert!(text.contains(&format!("{expected} ModelClient {{")), "{methods}: {text}");
    }
}

#[test]
fn a_wrong_block_or_trait_is_kept_without_our_attributes() {
    let item = quote! {
        impl<T> Model<T> {
            #[remote(inline)]
            fn f(&mut self, #[ctx] a: &Context) {}
        }
    };
    let text = remote(quote!(nonsense), item).to_string();
    let kept = quote!(
        impl<T> Model<T> {
            #[allow(dead_code)]
            fn f(&mut self, a: &Context) {}
        }
    );
    assert!(text.starts_with(&kept.to_string()), "{text}");
    assert_eq!(text.matches("compile_error").count(), 3, "{text}");
    assert!(!text.contains("struct"), "{text}");
    let item = quote! {
        trait Embedder {
            type T;
            #[remote(stream)]
            async fn f(&self, #[ctx] a: &Context) -> u8;
        }
    };
    let text = remote(quote!(), item).to_string();
    let kept = quote!(
        trait Embedder {
            type T;
            #[allow(dead_code)]
            async fn f(&self, a: &Context) -> u8;
        }
    );
    assert!(text.starts_with(&kept.to_string()), "{text}");
    assert_eq!(text.matches("compile_error").count(), 2, "{text}");
}

#[test]
fn names_are_absolute_in_blocks_and_traits() {
    for item in [
        quote!(
            impl Model {
                async fn f(&self, a: u8) -> u8 { a }
            }
        ),
        quote!(
            trait Embedder {
                async fn f(&self, a: u8) -> u8 {
                    a
                }
            }
        ),
    ] {
        let text = remote(quote!(), item.clone()).to_string();
        let absolute = text.matches(":: easyremote :: __private").count();
        assert_eq!(text.matches("__private").count(), absolute);
        let text = remote(quote!(crate = crate::vendor), item).to_string();
        let absolute = text.matches("crate :: vendor :: __private").count();
        assert_eq!(text.matches("__private").count(), absolute);
        assert!(!text.contains("easyremote"), "{text}");
    }
}
