//! What a function has from the declaration that it implements.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::Path;

use crate::expand::Twin;
use crate::expand::outcome::ends;
use crate::parameters::Origin;
use crate::returns::Returns;

impl Twin<'_> {
    /// The descriptor and the signature of an implementation: those of its declaration.
    ///
    /// ```text
    /// // Input:
    /// #[remote(implements = api::embed)]
    /// async fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
    ///
    /// // Output:
    /// <api::embed as Remote>::DESCRIPTOR.implemented_at(file!(), line!())
    /// <api::embed as Remote>::signature()
    /// ```
    pub(super) fn declared(&self, declaration: &Path) -> (TokenStream, TokenStream) {
        let private = &self.private;
        let declared = quote!(<#declaration as #private::Remote>);
        let descriptor = quote! {
            #declared::DESCRIPTOR.implemented_at(::core::file!(), ::core::line!())
        };
        (descriptor, quote!(#declared::signature()))
    }

    /// Compiles only if the implementation has the types of its declaration. Each part stands where
    /// the type is written.
    ///
    /// ```text
    /// // Input:
    /// #[remote(implements = api::embed)]
    /// async fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
    /// #[remote(stream, implements = api::tail)]
    /// fn tail(id: u64) -> Result<impl Stream<Item = Row>, NotFound> { .. }
    ///
    /// // Output:
    /// const _: () = {
    ///     same_arguments::<api::embed, (String,)>();
    ///     same_upload::<api::embed, Never>();
    ///     same_result::<api::embed, Plain<Vec<f32>>>();
    /// };
    /// const _: () = {
    ///     same_arguments::<api::tail, (u64,)>();
    ///     same_upload::<api::tail, Never>();
    ///     same_stream::<api::tail, Result<(), NotFound>, Plain<Row>>();
    /// };
    /// ```
    pub(super) fn implements(&self) -> TokenStream {
        let Some(declaration) = &self.options.implements else {
            return TokenStream::new();
        };
        let cfgs = &self.cfgs;
        let result = self.place_of_result();
        let arguments = self.function.signature.paren_token.span;
        let upload = self.parameters.iter().find_map(|parameter| match parameter.origin {
            Origin::Upload(_) => Some(ends(parameter.ty)),
            _ => None,
        });
        let (name, types) = match &self.returns {
            Returns::Nothing | Returns::Value(_) => ("same_result", self.output()),
            Returns::Stream(stream) => {
                let (setup, item) = (self.setup(stream), self.item(stream));
                ("same_stream", quote!(#setup, #item))
            }
        };
        let arguments = (arguments.open(), arguments.close());
        let checks = [
            self.same("same_arguments", declaration, self.argument_types(), arguments),
            self.same("same_upload", declaration, self.upload_type(), upload.unwrap_or(arguments)),
            self.same(name, declaration, types, result),
        ];
        quote! {
            #(#cfgs)*
            #[allow(deprecated)]
            const _: () = { #(#checks)* };
        }
    }

    /// `name::<declaration, types>();`, standing from the first to the last of two places.
    fn same(
        &self,
        name: &str,
        declaration: &Path,
        types: impl ToTokens,
        (first, last): (Span, Span),
    ) -> TokenStream {
        let private = self.private_at(first);
        let name = proc_macro2::Ident::new(name, first);
        let declaration = located(declaration.to_token_stream(), first);
        let open = quote_spanned!(first=> #private::#name::<);
        let close = quote_spanned!(last=> >());
        quote!(#open #declaration, #types #close;)
    }
}

/// `tokens` as if they stood at `span`; they mean what they meant.
fn located(tokens: TokenStream, span: Span) -> TokenStream {
    let locate = |token: TokenTree| {
        let place = token.span().located_at(span);
        let mut token = match token {
            TokenTree::Group(group) => {
                TokenTree::Group(Group::new(group.delimiter(), located(group.stream(), span)))
            }
            other => other,
        };
        token.set_span(place);
        token
    };
    tokens.into_iter().map(locate).collect()
}
