use proc_macro2::{Delimiter, Group, TokenStream};
use quote::quote;
use syn::{Item, ItemMacro};

use crate::expand::remote;

mod blocks;
mod declared;
mod handlers;
mod services;

/// The expansion of `item` under `#[remote(options)]`, laid out as one writes it.
fn expansion(options: TokenStream, item: TokenStream) -> String {
    let expanded = remote(options, item).to_string();
    // Shorter to read; that the names are absolute is pinned in `names_are_absolute`.
    let expanded = expanded.replace(":: easyremote :: __private", "P");
    let mut file = syn::parse_file(&expanded).unwrap();
    file.items = file.items.into_iter().flat_map(unwrapped).collect();
    prettyplease::unparse(&file)
}

/// The items in `P::client! { .. }` and `P::node! { .. }`; any other item itself. Which items these
/// are is pinned in `each_role_has_its_items`.
fn unwrapped(item: Item) -> Vec<Item> {
    match &item {
        Item::Macro(it) if side(it).is_some() => {
            syn::parse2::<syn::File>(it.mac.tokens.clone()).unwrap().items
        }
        _ => vec![item],
    }
}

/// `client` or `node`.
fn side(item: &ItemMacro) -> Option<String> {
    let name = item.mac.path.segments.last().unwrap().ident.to_string();
    ["client", "node"].contains(&name.as_str()).then_some(name)
}

/// The first line of each item that is in `P::side! { .. }`.
fn items_of(wanted: &str, options: TokenStream, item: TokenStream) -> Vec<String> {
    let file: syn::File = syn::parse2(remote(options, item)).unwrap();
    let items = file.items.into_iter().filter_map(|item| match item {
        Item::Macro(it) if side(&it).as_deref() == Some(wanted) => Some(Item::Macro(it)),
        _ => None,
    });
    let shown = items.flat_map(unwrapped).map(|mut item| {
        if let Item::Impl(it) = &mut item {
            it.items.clear();
        }
        let text = quote!(#item).to_string();
        let text = text.replace(":: easyremote :: __private", "P");
        let (_, text) = text.split_at(text.rfind("] ").map_or(0, |end| end + 2));
        text.to_owned()
    });
    shown.collect()
}

#[test]
fn each_role_has_its_items() {
    let function = || {
        quote!(
            fn add(a: i64) -> i64 {
                a
            }
        )
    };
    assert_eq!(items_of("client", quote!(), function()), ["impl add { }"]);
    let node = ["impl P :: Local for add { }", "P :: submit ! (P :: only :: < add >) ;"];
    assert_eq!(items_of("node", quote!(), function()), node);

    let block = || quote!(impl Model { fn embed(&self) -> u64 { 0 } });
    let handle = items_of("client", quote!(), block());
    assert_eq!(handle[1..], ["impl ModelClient { }", "impl Model { }"]);
    assert!(handle[0].starts_with("struct ModelClient"), "{handle:?}");
    let node = items_of("node", quote!(), block());
    assert_eq!(
        node[..2],
        ["impl P :: Local for Model_embed { }", "impl P :: Listed for Model { }"]
    );
    assert!(node[2].starts_with("P :: submit ! ("), "{node:?}");

    let service = || {
        quote!(
            trait Embedder {
                fn embed(&self) -> u64;
            }
        )
    };
    let handle = items_of("client", quote!(), service());
    assert_eq!(handle[1..], ["impl EmbedderClient { }"]);
    let node = items_of("node", quote!(), service());
    assert!(node[0].contains("P :: Served < __Implementation > for Embedder_embed"), "{node:?}");
    assert!(node[1].starts_with("struct EmbedderServer <"), "{node:?}");
    assert!(node[2].contains("P :: Listed for EmbedderServer"), "{node:?}");
}

/// The items called `wanted` in the expansion: those whose first line contains it.
fn parts(options: TokenStream, item: TokenStream, wanted: &[&str]) -> String {
    let file = syn::parse_file(&expansion(options, item)).unwrap();
    let items = file.items.iter().map(|item| {
        let file = syn::parse2(quote!(#item)).unwrap();
        prettyplease::unparse(&file)
    });
    items.filter(|text| wanted.iter().any(|wanted| text.contains(wanted))).collect()
}

const A_SYNC_FUNCTION: &str = r#"#[allow(dead_code)]
/// Adds two numbers.
///
/// Without overflow.
#[must_use]
pub fn add(a: i64, mut b: i64) -> i64 {
    a + b
}
/// Remote stub of [`fn@add`].
///
/// Adds two numbers.
#[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
pub struct add<__Signature = fn(i64, i64) -> i64> {
    signature: ::core::marker::PhantomData<fn() -> __Signature>,
}
#[allow(deprecated)]
impl P::Remote for add {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "add",
            P::Kind::Unary,
            ::core::file!(),
            ::core::line!(),
        )
        .parameters(&["a", "b"])
        .doc("Adds two numbers.\n\nWithout overflow.")
        .timeout_ms(30000);
    type Arguments = (i64, i64);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_unary::<Self>)
    }
}
#[allow(deprecated)]
impl P::RemoteUnary for add {
    type Output = P::Plain<i64>;
}
#[allow(deprecated)]
impl add {
    /// Calls [`fn@add`] on a node: `add::call(&client, a, b).await`.
    ///
    /// Options such as `.timeout(..)` are set before the `.await`, and nothing is sent before it. Dropping the call cancels it.
    #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
    pub fn call(client: &P::Client, a: i64, b: i64) -> P::Call<Self> {
        P::call(client, (a, b))
    }
    /// Calls [`fn@add`] with each of `inputs`, on all nodes that offer it: `add::map(&client, inputs).concurrency(64)` is a stream of the results.
    #[allow(dead_code, private_interfaces, private_bounds)]
    pub fn map<__Inputs>(
        client: &P::Client,
        inputs: __Inputs,
    ) -> P::Map<Self, __Inputs::IntoIter>
    where
        __Inputs: ::core::iter::IntoIterator<Item = (i64, i64)>,
    {
        P::map(client, inputs, |input| input)
    }
}
#[allow(deprecated)]
impl P::Local for add {
    fn handler() -> P::Handler {
        P::blocking::<
            Self,
        >(|_, (argument_0, argument_1)| { add(argument_0, argument_1) })
    }
}
P::submit!(P::only:: < add >);
"#;

#[test]
fn a_sync_function() {
    let item = quote! {
        /// Adds two numbers.
        ///
        /// Without overflow.
        #[must_use]
        pub fn add(a: i64, mut b: i64) -> i64 { a + b }
    };
    assert_eq!(expansion(quote!(timeout = "30s"), item), A_SYNC_FUNCTION);
}

#[test]
fn a_stream_that_waits_and_may_fail() {
    let expected = r#"#[allow(deprecated)]
impl P::Remote for tail {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "tail",
            P::Kind::Stream,
            ::core::file!(),
            ::core::line!(),
        )
        .parameters(&["id"]);
    type Arguments = (u64,);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_stream::<Self>)
    }
}
#[allow(deprecated)]
impl P::RemoteStream for tail {
    type Setup = Result<(), NotFound>;
    type Item = P::Plain<Row>;
}
#[allow(deprecated)]
impl tail {
    /// Calls [`fn@tail`] on a node: `tail::call(&client, id)` is a stream of its items.
    ///
    /// Options such as `.timeout(..)` are set before the first item is asked for, and nothing is sent before that. `.open().await` waits until the stream is set up, which may fail. Dropping the stream cancels the call.
    #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
    fn call(client: &P::Client, id: u64) -> P::StreamCall<Self> {
        P::stream_call(client, (id,))
    }
}
"#;
    let item = quote!(
        async fn tail(id: u64) -> Result<impl Stream<Item = Row>, NotFound> {}
    );
    let wanted = ["P::Remote for", "P::RemoteStream for", "impl tail"];
    assert_eq!(parts(quote!(stream), item, &wanted), expected);
}

#[test]
fn outcomes() {
    for (options, returned, expected) in [
        (quote!(), quote!(), "type Output = P::Plain<()>;"),
        (quote!(), quote!(-> ()), "type Output = P::Plain<()>;"),
        (quote!(), quote!(-> Vec<u8>), "type Output = P::Plain<Vec<u8>>;"),
        (quote!(), quote!(-> io::Result<u8>), "type Output = io::Result<u8>;"),
        (quote!(plain), quote!(-> TestResult), "type Output = P::Plain<TestResult>;"),
        (
            quote!(stream),
            quote!(-> impl Iterator<Item = u8>),
            "type Setup = P::Plain<()>; type Item = P::Plain<u8>;",
        ),
        (
            quote!(stream),
            quote!(-> impl Stream<Item = Result<u8, E>>),
            "type Setup = P::Plain<()>; type Item = P::Itself<Result<u8, E>>;",
        ),
        (
            quote!(stream, plain),
            quote!(-> io::Result<impl Stream<Item = TestResult>>),
            "type Setup = io::Result<()>; type Item = P::Plain<TestResult>;",
        ),
        (
            quote!(stream),
            quote!(-> Result<Pin<Box<dyn Stream<Item = u8> + Send>>, E>),
            "type Setup = Result<(), E>; type Item = P::Plain<u8>;",
        ),
        (
            quote!(stream),
            quote!(-> BoxStream<'static, u8>),
            "type Setup = P::Plain<()>; type Item = P::Plain<u8>;",
        ),
    ] {
        let item = quote!(fn f() #returned {});
        let text = parts(options, item, &["P::RemoteUnary for", "P::RemoteStream for"]);
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(expected), "{returned}: {text}");
    }
}

#[test]
fn levels_of_lints_are_those_of_the_item() {
    let levels = |text: &str| {
        let file = syn::parse_file(text).unwrap();
        let generated = file.items.iter().filter(|item| !matches!(item, syn::Item::Macro(_)));
        let levels: Vec<String> = generated
            .map(|item| {
                let (syn::Item::Fn(syn::ItemFn { attrs, .. })
                | syn::Item::Struct(syn::ItemStruct { attrs, .. })
                | syn::Item::Trait(syn::ItemTrait { attrs, .. })
                | syn::Item::Const(syn::ItemConst { attrs, .. })
                | syn::Item::Impl(syn::ItemImpl { attrs, .. })) = item
                else {
                    panic!("{}", quote!(#item))
                };
                quote!(#(#attrs)*).to_string().replace(' ', "")
            })
            .collect();
        levels
    };
    let function = quote! {
        #[expect(non_snake_case, reason = "r")]
        #[deny(x::y)]
        pub async fn Odd(A: impl Stream<Item = u8>) -> u8;
    };
    let block = quote! {
        #[expect(non_snake_case, reason = "r")]
        #[deny(x::y)]
        impl Model { fn Odd(&self, A: u8) {} }
    };
    let service = quote! {
        #[expect(non_snake_case, reason = "r")]
        #[deny(x::y)]
        trait Model { fn Odd(&self, A: u8); }
    };
    for (item, kept) in [(function, 0), (block, 1), (service, 1)] {
        let text = expansion(quote!(), item);
        let levels = levels(&text);
        assert!(levels.len() > 4, "{text}");
        for generated in &levels[kept..] {
            let expected = r#"#[allow(non_snake_case,reason="r")]#[deny(x::y)]"#;
            assert!(generated.contains(expected), "{generated}: {text}");
        }
    }
}

#[test]
fn what_is_not_an_argument_is_not_sent() {
    let expected = r#"#[allow(dead_code)]
async fn generate(llm: &Llm, #[allow(unused)] ctx: &Context, prompt: String) -> Answer {
    llm.answer(prompt)
}
#[allow(deprecated)]
impl P::Remote for generate {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "generate",
            P::Kind::Unary,
            ::core::file!(),
            ::core::line!(),
        )
        .parameters(&["prompt"]);
    type Arguments = (String,);
    type Upload = P::Never;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_unary::<Self>)
    }
}
#[allow(deprecated)]
impl generate {
    /// Calls [`fn@generate`] on a node: `generate::call(&client, prompt).await`.
    ///
    /// Options such as `.timeout(..)` are set before the `.await`, and nothing is sent before it. Dropping the call cancels it.
    #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
    fn call(client: &P::Client, prompt: String) -> P::Call<Self> {
        P::call(client, (prompt,))
    }
    /// Calls [`fn@generate`] with each of `inputs`, on all nodes that offer it: `generate::map(&client, inputs).concurrency(64)` is a stream of the results.
    #[allow(dead_code, private_interfaces, private_bounds)]
    fn map<__Inputs>(
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
        async fn generate(
            #[state] llm: &Llm,
            #[allow(unused)] #[ctx] ctx: &Context,
            prompt: String,
        ) -> Answer {
            llm.answer(prompt)
        }
    };
    let wanted = ["async fn", "P::Remote for", "impl generate"];
    assert_eq!(parts(quote!(), item, &wanted), expected);
}

#[test]
fn a_client_stream_is_sent_beside_the_arguments() {
    let expected = r#"#[allow(deprecated)]
impl P::Remote for upload {
    const DESCRIPTOR: P::Descriptor = P::Descriptor::new(
            "upload",
            P::Kind::Upload,
            ::core::file!(),
            ::core::line!(),
        )
        .parameters(&["name", "size"]);
    type Arguments = (String, u64);
    type Upload = Bytes;
    fn signature() -> &'static P::Signature {
        static CELL: P::SignatureCell = P::SignatureCell::new();
        CELL.get(P::trace_unary::<Self>)
    }
}
#[allow(deprecated)]
impl upload {
    /// Calls [`fn@upload`] on a node: `upload::call(&client, name, chunks, size).await`.
    ///
    /// Options such as `.timeout(..)` are set before the `.await`, and nothing is sent before it. Dropping the call cancels it.
    #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
    fn call(
        client: &P::Client,
        name: String,
        chunks: impl P::Stream<Item = Bytes> + ::core::marker::Send + 'static,
        size: u64,
    ) -> P::Call<Self> {
        P::call_with(client, (name, size), chunks)
    }
}
"#;
    let item = quote!(
        async fn upload(name: String, mut chunks: impl Stream<Item = Bytes> + Unpin, size: u64) {}
    );
    assert_eq!(parts(quote!(), item, &["P::Remote for", "impl upload"]), expected);
}

#[test]
fn streams_both_ways() {
    let item = quote!(
        fn talk(audio: impl Stream<Item = Chunk>, to: u8) -> impl Stream<Item = Text> {}
    );
    let text = parts(quote!(stream), item, &["P::Remote for", "impl talk"]);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "P::Kind::Duplex",
        "type Upload = Chunk;",
        "CELL.get(P::trace_stream::<Self>)",
        "audio: impl P::Stream<Item = Chunk> + ::core::marker::Send + 'static, to: u8,",
        "-> P::StreamCall<Self> { P::stream_call_with(client, (to,), audio) }",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// The compiler does not know them.
#[test]
fn helper_attributes_go_from_a_wrong_function_too() {
    let item = quote!(
        pub fn f(#[state] self, #[state] a: u8, #[ctx] b: u8) -> &str {
            #[state]
            x
        }
    );
    let text = remote(quote!(), item).to_string();
    let kept = quote!(
        pub fn f(self, a: u8, b: u8) -> &str {
            #[state]
            x
        }
    );
    assert!(text.starts_with(&kept.to_string()), "{text}");
}

/// `$body:block` of a `macro_rules!` comes in separate invisible braces.
#[test]
fn a_body_may_be_a_fragment_of_a_macro() {
    let body = Group::new(Delimiter::None, quote!({ a }));
    let expanded = remote(quote!(), quote!(fn id(a: u8) -> u8 #body)).to_string();
    assert!(expanded.contains("struct id") && !expanded.contains("compile_error"), "{expanded}");
}

#[test]
fn names_on_the_wire_are_not_raw() {
    let item = quote!(
        fn r#type(r#match: u8) {}
    );
    let text = parts(quote!(), item.clone(), &["P::Remote for", "impl r#type"]);
    assert!(text.contains("\"type\"") && text.contains("&[\"match\"]"), "{text}");
    assert!(text.contains("r#match: u8"), "{text}");
    let text = expansion(quote!(name = "a.b", stub = Stub), item);
    assert!(text.contains("\"a.b\"") && text.contains("struct Stub {}"), "{text}");
    assert!(text.contains("r#type(argument_0)"), "{text}");
}

#[test]
fn every_item_has_the_cfg_of_the_function() {
    let item = quote!(
        #[cfg(feature = "gpu")]
        #[deprecated]
        #[doc(hidden)]
        fn f() {}
    );
    let text = expansion(quote!(), item);
    assert_eq!(text.matches("#[cfg(feature = \"gpu\")]").count(), 7, "{text}");
    assert_eq!(text.matches("#[deprecated]").count(), 2, "{text}");
    assert_eq!(text.matches("#[doc(hidden)]").count(), 2, "{text}");
}

#[test]
fn names_are_absolute() {
    let item = quote!(
        async fn f(a: u8) -> impl Stream<Item = u8> {}
    );
    let text = remote(quote!(stream), item.clone()).to_string();
    assert_eq!(
        text.matches("__private").count(),
        text.matches(":: easyremote :: __private").count()
    );
    let text = remote(quote!(stream, crate = crate::vendor), item).to_string();
    assert_eq!(
        text.matches("__private").count(),
        text.matches("crate :: vendor :: __private").count()
    );
    assert!(!text.contains("easyremote"), "{text}");
}

#[test]
fn a_wrong_function_is_kept() {
    let item = quote!(
        pub fn f(a: &str, b: &mut u8) {}
    );
    let text = remote(quote!(nonsense), item.clone()).to_string();
    assert!(text.starts_with(&item.to_string()), "{text}");
    assert_eq!(text.matches("compile_error").count(), 3, "{text}");
    assert!(!text.contains("struct"), "{text}");
}
