//! Expands a trait of methods: a stub for each, the handle that calls them, and the server that
//! lists them for an implementation.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{
    FnArg, GenericArgument, PathArguments, ReturnType, Token, Type, TypeParamBound, parse_quote,
};

use crate::args::Options;
use crate::check;
use crate::expand::block::{list, private};
use crate::expand::handle::Handle;
use crate::expand::method::{implementation, implementation_ident};
use crate::expand::outcome::ends;
use crate::expand::stub::{Stub, for_callers, for_nodes, generated};
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::model::owner::Owner;
use crate::model::service::Service;
use crate::parameters::helpers;
use crate::returns::{Source, bare};
use crate::types::is_result;

/// Returns the trait and its generated items, or the trait and its mistakes.
///
/// ```text
/// // Input:
/// #[remote]
/// trait Embedder {
///     async fn embed(&self, text: String) -> Vec<f32>;
/// }
///
/// // Output:
/// trait Embedder: Send + Sync + 'static {
///     fn embed(&self, text: String) -> impl Future<Output = Vec<f32>> + Send;
/// }
/// struct Embedder_embed {}
/// impl Remote for Embedder_embed { .. }
/// impl RemoteUnary for Embedder_embed { .. }
/// impl<T: Embedder> Served<T> for Embedder_embed { .. }
/// struct EmbedderClient { .. }
/// impl EmbedderClient { fn embed(&self, text: String) -> Call<Embedder_embed> { .. } }
/// struct EmbedderServer<T: Embedder> ..;
/// impl<T: Embedder> Listed for EmbedderServer<T> { fn functions() -> Functions { .. } }
/// ```
pub(super) fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = Options::parse(options, &mut mistakes);
    let service = match Service::parse(item.clone()) {
        Ok(service) => service,
        Err(error) => {
            mistakes.push(error);
            let errors = mistakes.into_compile_errors();
            return quote!(#item #errors);
        }
    };
    let owner = Owner::of_service(&service, &options);
    let methods = check::service::check(&service, &owner, &options, &mut mistakes);
    if let Some(errors) = mistakes.into_compile_errors() {
        return quote!(#service #errors);
    }
    let stubs: Vec<Stub<'_>> = methods.iter().map(|method| Stub::method(method, &owner)).collect();
    let private = private(&owner);
    let handle = Handle { owner: &owner, stubs: &stubs, private: &private }.expand();
    let handle = for_callers(&private, &handle);
    let server = for_nodes(&private, &server(&service, &owner, &stubs, &private));
    let kept = kept(&service);
    let stubs = stubs.iter().map(Stub::expand_method);
    quote!(#kept #(#stubs)* #handle #server)
}

/// Writes the trait with the signatures that its implementations must have.
fn kept(service: &Service) -> TokenStream {
    let mut kept = service.kept(|method| match method.is_skipped() {
        true => method.kept(),
        false => sendable(&method.written),
    });
    // In a build without the feature `node`, it may be unused.
    kept.attrs.push(parse_quote!(#[allow(dead_code)]));
    kept.colon_token.get_or_insert_with(Default::default);
    for bound in [
        parse_quote!(::core::marker::Send),
        parse_quote!(::core::marker::Sync),
        TypeParamBound::Lifetime(parse_quote!('static)),
    ] {
        kept.supertraits.push(bound);
    }
    kept.into_token_stream()
}

/// Writes a method whose future and streams are `Send`, as a node requires.
///
/// ```text
/// // Input:
/// async fn embed(&self, text: String) -> Vec<f32>;
/// async fn name(&self) -> String { "x".to_owned() }
/// fn tokens(&self, audio: impl Stream<Item = Chunk>) -> impl Stream<Item = String>;
///
/// // Output:
/// fn embed(&self, text: String) -> impl Future<Output = Vec<f32>> + Send;
/// fn name(&self) -> impl Future<Output = String> + Send { async move { "x".to_owned() } }
/// fn tokens(&self, audio: impl Stream<Item = Chunk> + Send) -> impl Stream<Item = String> + Send;
/// ```
fn sendable(written: &Function) -> TokenStream {
    let Function { attributes, visibility, no_body, body, .. } = written;
    let mut signature = written.signature.clone();
    for input in &mut signature.inputs {
        match input {
            FnArg::Typed(typed) => {
                if helpers(&typed.attrs).next().is_none() {
                    send_streams(&mut typed.ty);
                }
                typed.attrs.retain(|attribute| !crate::parameters::is_taken_out(attribute));
            }
            FnArg::Receiver(_) => {}
        }
    }
    if let ReturnType::Type(_, ty) = &mut signature.output {
        send_streams(ty);
    }
    let Some(asyncness) = signature.asyncness.take() else {
        return quote!(#(#attributes)* #visibility #signature #no_body #body);
    };
    let (arrow, output) = match &signature.output {
        ReturnType::Type(arrow, ty) => (*arrow, ty.to_token_stream()),
        ReturnType::Default => (Token![->](asyncness.span), quote!(())),
    };
    let place = match &signature.output {
        ReturnType::Type(_, ty) => ends(ty).0,
        ReturnType::Default => asyncness.span,
    };
    let future = quote_spanned! {place=>
        impl ::core::future::Future<Output = #output> + ::core::marker::Send
    };
    signature.output = ReturnType::Type(arrow, Box::new(Type::Verbatim(future)));
    // Clippy would suggest an `async fn`, but its future would not be `Send`.
    let allowed = body.as_ref().map(|_| quote!(#[allow(clippy::manual_async_fn)]));
    let body = body.as_ref().map(|body| quote!({ async move #body }));
    quote! {
        #(#attributes)*
        #allowed
        #visibility #signature #no_body #body
    }
}

/// Adds `+ Send` to `impl Stream<Item = T>`, alone and inside a `Result`.
fn send_streams(ty: &mut Type) {
    match ty {
        Type::Group(group) => send_streams(&mut group.elem),
        Type::Paren(paren) => send_streams(&mut paren.elem),
        Type::ImplTrait(_) if matches!(bare(ty), Some((Source::Stream, _))) => {
            if let Type::ImplTrait(it) = ty {
                it.bounds.push(parse_quote!(::core::marker::Send));
            }
        }
        Type::Path(_) if is_result(ty) => {
            let Type::Path(path) = ty else { return };
            let last = path.path.segments.last_mut().map(|segment| &mut segment.arguments);
            let Some(PathArguments::AngleBracketed(bracketed)) = last else { return };
            let first = bracketed.args.iter_mut().find_map(|argument| match argument {
                GenericArgument::Type(ty) => Some(ty),
                _ => None,
            });
            if let Some(first) = first {
                send_streams(first);
            }
        }
        _ => {}
    }
}

/// ```text
/// // Output:
/// struct EmbedderServer<T: Embedder>(PhantomData<fn() -> T>);
/// impl<T: Embedder> Listed for EmbedderServer<T> {
///     fn functions() -> Functions {
///         let mut functions = Functions::default();
///         Functions::extend(&mut functions, <Embedder_embed as Served<T>>::functions());
///         functions
///     }
/// }
/// ```
fn server(
    service: &Service,
    owner: &Owner,
    stubs: &[Stub<'_>],
    private: &TokenStream,
) -> TokenStream {
    let Owner { cfgs, lints, .. } = owner;
    let visibility = &service.header.vis;
    let ident = format_ident!("{}Server", owner.ident.unraw(), span = owner.ident.span());
    let (declared_visibility, declared) = (generated(visibility), generated(&ident));
    let (name, generics) = (implementation_ident(), implementation(owner, private));
    let body = list(stubs, private, &quote!(Served<#name>));
    let of = &owner.ident;
    let doc = [
        format!(
            " Lists the methods of a type that implements `{}`, for a node to offer:",
            owner.text()
        ),
        format!(" `functions![{ident}<T>]`. The node keeps a value of the type."),
    ];
    quote! {
        #(#cfgs)*
        #(#[doc = #doc])*
        #(#lints)*
        #[allow(dead_code)]
        #declared_visibility struct #declared<#name: #of>(::core::marker::PhantomData<fn() -> #name>);

        #(#cfgs)*
        #(#lints)*
        impl<#generics> #private::Listed for #ident<#name> {
            fn functions() -> #private::Functions { #body }
        }
    }
}
