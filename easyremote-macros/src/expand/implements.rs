//! Expands the parts of an implementation that come from its declaration.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Path;

use crate::expand::outcome::ends;
use crate::expand::stub::Stub;
use crate::model::operator::OperatorShape;
use crate::parameters::Origin;
use crate::returns::Returns;

impl Stub<'_> {
    /// Writes the descriptor and the signature of an implementation: those of its declaration.
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

    /// Writes code that compiles only if the implementation has the types of its declaration. Each
    /// part has the span of the type.
    ///
    /// ```text
    /// // Input:
    /// #[remote(implements = api::embed)]
    /// async fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
    /// #[remote(stream, implements = api::tail)]
    /// fn tail(id: u64) -> Result<impl Stream<Item = Row>, NotFound> { .. }
    ///
    /// // Output:
    /// impl Implements for embed {
    ///     type Arguments = TheseArguments<<api::embed as Remote>::Arguments, (String,)>;
    ///     type Upload = ThisUpload<<api::embed as Remote>::Upload, Never>;
    ///     type Output = ThisResult<<api::embed as RemoteUnary>::Output, Plain<Vec<f32>>>;
    /// }
    /// impl Implements for tail {
    ///     ..
    ///     type Output = ThisStream<
    ///         <api::tail as RemoteStream>::Setup, <api::tail as RemoteStream>::Item,
    ///         Result<(), NotFound>, Plain<Row>,
    ///     >;
    /// }
    /// ```
    pub(super) fn implements(&self) -> TokenStream {
        let Some(declaration) = &self.options.implements else {
            return TokenStream::new();
        };
        let Self { ident, private, cfgs, lints, .. } = self;
        let parentheses = self.function.signature.paren_token.span;
        let arguments = (parentheses.open(), parentheses.close());
        let upload = self.parameters.iter().find_map(|parameter| match parameter.origin {
            Origin::Upload(_) => Some(ends(parameter.ty)),
            _ => None,
        });
        let upload = upload.unwrap_or(arguments);
        let result = self.place_of_result();
        let declared = |kind, part, place| self.declared_type(declaration, kind, part, place);
        let this = [declared("Remote", "Upload", upload), self.upload_type()];
        let upload = self.same("ThisUpload", &this, upload);
        let these = [declared("Remote", "Arguments", arguments), self.argument_types().into()];
        let arguments = self.same("TheseArguments", &these, arguments);
        let output = match &self.returns {
            _ if self.operator.is_some() => self.same_operator(declaration, result),
            Returns::Nothing | Returns::Value(_) => {
                let this = [declared("RemoteUnary", "Output", result), self.output()];
                self.same("ThisResult", &this, result)
            }
            Returns::Stream(stream) => {
                let this = [
                    declared("RemoteStream", "Setup", result),
                    declared("RemoteStream", "Item", result),
                    self.setup(stream),
                    self.item(stream).unwrap_or_default(),
                ];
                self.same("ThisStream", &this, result)
            }
        };
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #private::Implements for #ident {
                type Arguments = #arguments;
                type Upload = #upload;
                type Output = #output;
            }
        }
    }

    /// Writes the proof that an operator takes and passes on the items of its declaration.
    fn same_operator(&self, declaration: &Path, result: (Span, Span)) -> TokenStream {
        let [item, output] = self.operator.as_ref().map(OperatorShape::items).unwrap_or_default();
        let declared = |part| self.declared_type(declaration, "RemoteOperator", part, result);
        self.same("ThisOperator", &[declared("Item"), declared("Output"), item, output], result)
    }

    /// Writes `<declaration as kind>::part`, with a span from the first to the last of two places,
    /// so that a declaration of another kind is one error, not two.
    fn declared_type(
        &self,
        declaration: &Path,
        kind: &str,
        part: &str,
        (first, last): (Span, Span),
    ) -> TokenStream {
        let private = self.private_at(first);
        let (kind, part) = (Ident::new(kind, first), Ident::new(part, last));
        let open = quote_spanned!(first=> <);
        let close = quote_spanned!(first=> as #private::#kind>);
        let part = quote_spanned!(last=> ::#part);
        quote!(#open #declaration #close #part)
    }

    /// Writes `name<types>`, with a span from the first to the last of two places.
    fn same(&self, name: &str, types: &[TokenStream], (first, last): (Span, Span)) -> TokenStream {
        let private = self.private_at(first);
        let name = Ident::new(name, first);
        let open = quote_spanned!(first=> #private::#name<);
        let close = quote_spanned!(last=> >);
        quote!(#open #(#types),* #close)
    }
}
