//! Expands the parts in which the stub of a method differs from that of a function.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;

use crate::expand::stub::{Stub, for_nodes, generated, is_hidden};
use crate::model::method::Exposed;
use crate::model::owner::{Kind, Owner};

impl<'a> Stub<'a> {
    /// Creates the stub of a method of `owner`.
    pub(super) fn method(exposed: &'a Exposed, owner: &'a Owner) -> Self {
        let Exposed { function, options } = exposed;
        let stub = Stub::new(function, options);
        let method = &function.signature.ident;
        let ident = match &options.stub {
            Some(stub) => stub.clone(),
            None => format_ident!("{}_{}", owner.text(), method.unraw(), span = method.span()),
        };
        Self { name: format!("{}.{}", owner.name, stub.name), ident, owner: Some(owner), ..stub }
    }

    /// Writes the stub's items, without the handle's method.
    pub(super) fn expand_method(&self) -> TokenStream {
        let declaration = self.method_declaration();
        let remote = self.remote();
        let outcome = self.outcome();
        let local = for_nodes(&self.private, &self.local());
        quote!(#declaration #remote #outcome #local)
    }

    /// ```text
    /// // Input:
    /// #[remote]
    /// impl Model { pub fn embed(&self, text: String) -> Vec<f32> { .. } }
    /// #[remote]
    /// trait Embedder { fn embed(&self, text: String) -> Vec<f32>; }
    ///
    /// // Output:
    /// /// Remote stub of `Model::embed`.
    /// pub struct Model_embed<__Signature = fn(Model, String) -> Vec<f32>> { signature: PhantomData<fn() -> __Signature> }
    /// /// Remote stub of `Embedder::embed`.
    /// struct Embedder_embed {}
    /// ```
    fn method_declaration(&self) -> TokenStream {
        let Self { cfgs, lints, owner, .. } = self;
        let Some(owner) = owner else { return TokenStream::new() };
        let hidden = self.function.attributes_named("doc").filter(|doc| is_hidden(doc));
        let doc = format!(" Remote stub of `{}::{}`.", owner.text(), self.function.name());
        let body = self.struct_body();
        let (visibility, ident) = (generated(&self.function.visibility), generated(&self.ident));
        quote! {
            #(#cfgs)*
            #[doc = #doc]
            #(#hidden)*
            #(#lints)*
            #[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
            #visibility struct #ident #body
        }
    }

    /// Returns the trait that the node's part of the stub implements: for a method of a type, or of
    /// any implementation of a trait.
    pub(super) fn offers(&self) -> (TokenStream, TokenStream) {
        match self.owner {
            Some(owner) if owner.is_trait() => {
                let generics = implementation(owner, &self.private);
                let name = implementation_ident();
                (quote!(<#generics>), quote!(Served<#name>))
            }
            _ => (TokenStream::new(), quote!(Local)),
        }
    }

    /// Writes `<Model>::` before the name of a method.
    pub(super) fn path_of_method(&self, span: Span) -> Option<TokenStream> {
        let owner = self.owner?;
        let ty = owner.receiver_type();
        let of = owner.is_trait().then(|| {
            let name = &owner.ident;
            quote_spanned!(span=> as #name)
        });
        Some(quote_spanned!(span=> <#ty #of>::))
    }

    /// Writes `inputs.receiver::<Model>()` with the span of `&self`: there the compiler reports a
    /// type that calls cannot share.
    pub(super) fn receiver(&self, inputs: &Ident) -> Option<TokenStream> {
        let ty = self.owner?.receiver_type();
        let span = self.place_of_receiver();
        let mut inputs = inputs.clone();
        inputs.set_span(inputs.span().located_at(span));
        let mut nothing = Group::new(Delimiter::Parenthesis, TokenStream::new());
        nothing.set_span(span);
        let dot = quote_spanned!(span=> .);
        Some(quote!(#inputs #dot receiver::<#ty> #nothing))
    }

    /// Writes `.needs_receiver::<Model>()`.
    pub(super) fn needs_receiver(&self) -> TokenStream {
        let ty = self.owner.map(Owner::receiver_type).into_iter();
        quote!(#(.needs_receiver::<#ty>())*)
    }

    fn place_of_receiver(&self) -> Span {
        match &self.function.receiver {
            Some(receiver) => receiver.self_token.span,
            None => self.function.signature.ident.span(),
        }
    }
}

impl Owner {
    /// Returns the type of `&self` on the node.
    fn receiver_type(&self) -> TokenStream {
        match &self.kind {
            Kind::Type(ty) => ty.to_token_stream(),
            Kind::Trait(_) => implementation_ident().into_token_stream(),
        }
    }
}

/// Writes `__Implementation: Embedder + State`.
pub(super) fn implementation(owner: &Owner, private: &TokenStream) -> TokenStream {
    let (name, of) = (implementation_ident(), &owner.ident);
    quote!(#name: #of + #private::State)
}

/// The type parameter of an implementation; a name that no user's type is likely to have.
pub(super) fn implementation_ident() -> Ident {
    Ident::new("__Implementation", Span::call_site())
}
