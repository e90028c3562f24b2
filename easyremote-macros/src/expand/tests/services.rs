//! What is written for traits.

use quote::quote;

use crate::expand::tests::{expansion, parts};

const A_TRAIT: &str = r#"/// What embeds.
#[allow(dead_code)]
pub trait Embedder: Display + ::core::marker::Send + ::core::marker::Sync + 'static {
    /// Embeds.
    fn embed(
        &self,
        text: String,
    ) -> impl ::core::future::Future<Output = Vec<f32>> + ::core::marker::Send;
}
/// Remote stub of `Embedder::embed`.
#[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
pub struct Embedder_embed<__Signature = fn(String) -> Vec<f32>> {
    signature: ::core::marker::PhantomData<fn() -> __Signature>,
}
#[allow(deprecated)]
impl P::Remote for Embedder_embed {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "Embedder.embed",
            P::Kind::Unary,
            ::core::file!(),
            ::core::line!(),
        )
        .method_of("Embedder")
        .parameters(&["text"])
        .doc("Embeds.");
    type Arguments = (String,);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_unary::<Self>)
    }
}
#[allow(deprecated)]
impl P::RemoteUnary for Embedder_embed {
    type Output = P::Plain<Vec<f32>>;
}
#[allow(deprecated)]
impl<__Implementation: Embedder + P::State> P::Served<__Implementation>
for Embedder_embed {
    fn handler() -> P::Handler {
        P::asynchronous::<
            Self,
            _,
        >(|inputs, (argument_0,)| {
                async move {
                    <__Implementation as Embedder>::embed(
                            inputs.receiver::<__Implementation>(),
                            argument_0,
                        )
                        .await
                }
            })
            .needs_receiver::<__Implementation>()
    }
}
/// Calls the methods of the `Embedder` that nodes keep.
///
/// Cheap to clone. It has the options of the client that it was created with.
#[allow(dead_code)]
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct EmbedderClient {
    instance: P::Instance,
}
impl EmbedderClient {
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
    /// Embeds.
    #[allow(dead_code, deprecated, private_interfaces, clippy::too_many_arguments)]
    pub fn embed(&self, text: String) -> P::Call<Embedder_embed> {
        P::Instance::call(&self.instance, (text,))
    }
}
/// Lists the methods of a type that implements `Embedder`, for a node to offer:
/// `functions![EmbedderServer<T>]`. The node keeps a value of the type.
#[allow(dead_code)]
pub struct EmbedderServer<__Implementation: Embedder>(
    ::core::marker::PhantomData<fn() -> __Implementation>,
);
impl<__Implementation: Embedder + P::State> P::Listed
for EmbedderServer<__Implementation> {
    fn functions() -> P::Functions {
        #[allow(unused_mut)]
        let mut functions = <P::Functions as ::core::default::Default>::default();
        P::Functions::extend(
            &mut functions,
            <Embedder_embed as P::Served<__Implementation>>::functions(),
        );
        functions
    }
}
"#;

#[test]
fn a_trait() {
    let item = quote! {
        /// What embeds.
        pub trait Embedder: Display {
            /// Embeds.
            async fn embed(&self, text: String) -> Vec<f32>;
        }
    };
    assert_eq!(expansion(quote!(), item), A_TRAIT);
}

/// So that a node can run them on any thread, for any implementation.
#[test]
fn futures_and_streams_of_a_trait_are_send() {
    let expected = r#"#[allow(dead_code)]
trait Embedder: ::core::marker::Send + ::core::marker::Sync + 'static {
    fn nothing(&self) -> impl ::core::future::Future<Output = ()> + ::core::marker::Send;
    #[allow(clippy::manual_async_fn)]
    fn default(
        &self,
        mut a: u8,
    ) -> impl ::core::future::Future<Output = u8> + ::core::marker::Send {
        async move {
            a += 1;
            a
        }
    }
    fn sync(&self) -> u8 {
        1
    }
    fn stream(
        &self,
        c: &Context,
        s: impl Stream<Item = u8> + ::core::marker::Send,
    ) -> impl Stream<Item = u8> + ::core::marker::Send;
    fn late(
        &self,
    ) -> impl ::core::future::Future<
        Output = io::Result<impl Stream<Item = u8> + ::core::marker::Send>,
    > + ::core::marker::Send;
    fn boxed(&self) -> BoxStream<'_, u8>;
    fn iterator(&self) -> impl Iterator<Item = u8>;
    async fn left_out<T>(self) -> T;
}
"#;
    let item = quote! {
        trait Embedder {
            async fn nothing(&self);
            async fn default(&self, mut a: u8) -> u8 { a += 1; a }
            fn sync(&self) -> u8 { 1 }
            #[remote(stream)]
            fn stream(&self, #[ctx] c: &Context, s: impl Stream<Item = u8>) -> impl Stream<Item = u8>;
            #[remote(stream)]
            async fn late(&self) -> io::Result<impl Stream<Item = u8>>;
            #[remote(stream)]
            fn boxed(&self) -> BoxStream<'_, u8>;
            #[remote(stream)]
            fn iterator(&self) -> impl Iterator<Item = u8>;
            #[remote(skip)]
            async fn left_out<T>(self) -> T;
        }
    };
    assert_eq!(parts(quote!(), item, &["trait Embedder"]), expected);
}
