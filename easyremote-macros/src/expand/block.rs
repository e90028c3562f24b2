//! Expands a block of methods: a stub for each, and the handle that calls them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::args::Options;
use crate::check;
use crate::expand::handle::Handle;
use crate::expand::stub::{Stub, for_callers, for_nodes};
use crate::mistakes::Mistakes;
use crate::model::block::Block;
use crate::model::owner::Owner;

/// Returns the block and its generated items, or the block and its mistakes.
///
/// ```text
/// // Input:
/// #[remote]
/// impl Model {
///     pub fn embed(&self, text: String) -> Vec<f32> { .. }
/// }
///
/// // Output:
/// impl Model {
///     pub fn embed(&self, text: String) -> Vec<f32> { .. }
/// }
/// pub struct Model_embed ..;
/// impl Remote for Model_embed { .. }
/// impl RemoteUnary for Model_embed { .. }
/// impl Local for Model_embed { .. }
/// pub struct ModelClient { .. }
/// impl ModelClient { pub fn embed(&self, text: String) -> Call<Model_embed> { .. } }
/// impl Model { pub fn remote(client: &Client) -> ModelClient { .. } }
/// impl Listed for Model { fn functions() -> Functions { .. } }
/// submit!(<Model as Listed>::functions);
/// ```
pub(super) fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    let mut mistakes = Mistakes::default();
    let options = Options::parse(options, &mut mistakes);
    let block = match Block::parse(item.clone()) {
        Ok(block) => block,
        Err(error) => {
            mistakes.push(error);
            let errors = mistakes.into_compile_errors();
            return quote!(#item #errors);
        }
    };
    let owner = Owner::of_block(&block, &options);
    let methods = check::block::check(&block, &owner, &options, &mut mistakes);
    let kept = block.kept();
    if let Some(errors) = mistakes.into_compile_errors() {
        return quote!(#kept #errors);
    }
    let stubs: Vec<Stub<'_>> = methods.iter().map(|method| Stub::method(method, &owner)).collect();
    let private = private(&owner);
    let handle = Handle { owner: &owner, stubs: &stubs, private: &private };
    let way = way_to_handle(&block, &handle);
    let handle = handle.expand();
    let callers = for_callers(&private, &quote!(#handle #way));
    let listed = for_nodes(&private, &listed(&block, &owner, &stubs, &private));
    let stubs = stubs.iter().map(Stub::expand_method);
    quote!(#kept #(#stubs)* #callers #listed)
}

/// `::easyremote::__private`
pub(super) fn private(owner: &Owner) -> TokenStream {
    match &owner.krate {
        Some(path) => quote!(#path::__private),
        None => quote!(::easyremote::__private),
    }
}

/// ```text
/// // Output:
/// impl Model {
///     pub fn remote(client: &Client) -> ModelClient { ModelClient { instance: Instance::new(client) } }
/// }
/// ```
fn way_to_handle(block: &Block, handle: &Handle<'_>) -> TokenStream {
    let Handle { owner, private, .. } = handle;
    let Owner { cfgs, lints, handle: ident, .. } = owner;
    let ty = &block.header.self_ty;
    let visibility = handle.visibility();
    quote! {
        #(#cfgs)*
        #(#lints)*
        impl #ty {
            /// Calls the remote methods of the value that nodes keep.
            #[allow(dead_code)]
            #[must_use]
            #visibility fn remote(client: &#private::Client) -> #ident {
                #ident { instance: #private::Instance::new(client) }
            }
        }
    }
}

/// ```text
/// // Output:
/// impl Listed for Model {
///     fn functions() -> Functions {
///         let mut functions = Functions::default();
///         Functions::extend(&mut functions, <Model_embed as Listed>::functions());
///         functions
///     }
/// }
/// submit!(<Model as Listed>::functions);
/// ```
fn listed(block: &Block, owner: &Owner, stubs: &[Stub<'_>], private: &TokenStream) -> TokenStream {
    let Owner { cfgs, lints, .. } = owner;
    let ty = &block.header.self_ty;
    let body = list(stubs, private, &quote!(Listed));
    quote! {
        #(#cfgs)*
        #(#lints)*
        impl #private::Listed for #ty {
            fn functions() -> #private::Functions { #body }
        }
        #(#cfgs)*
        #private::submit!(<#ty as #private::Listed>::functions);
    }
}

/// Writes an expression that collects the functions of all `stubs`; `from` is the trait that lists
/// them.
pub(super) fn list(stubs: &[Stub<'_>], private: &TokenStream, from: &TokenStream) -> TokenStream {
    let functions = Ident::new("functions", Span::mixed_site());
    let each = stubs.iter().map(|Stub { ident, cfgs, .. }| {
        quote! {
            #(#cfgs)*
            #private::Functions::extend(&mut #functions, <#ident as #private::#from>::functions());
        }
    });
    quote! {
        #[allow(unused_mut)]
        let mut #functions = <#private::Functions as ::core::default::Default>::default();
        #(#each)*
        #functions
    }
}
