//! Expands a function's return type, as its callers see it.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::{ReturnType, Type};

use crate::expand::stub::Stub;
use crate::returns::{Returns, Stream};
use crate::types::is_result;

impl Stub<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// fn divide(a: f64, b: f64) -> Result<f64, MathError> { .. }
    /// #[remote(stream)]
    /// async fn tail(id: u64) -> Result<impl Stream<Item = Row>, NotFound> { .. }
    ///
    /// // Output:
    /// impl RemoteUnary for divide { type Output = Result<f64, MathError>; }
    /// impl RemoteStream for tail { type Setup = Result<(), NotFound>; type Item = Plain<Row>; }
    /// ```
    ///
    /// For an operator it is [`RemoteOperator`](super::operator).
    ///
    /// With `err = "display"`, a function beside each type formats an error.
    pub(super) fn outcome(&self) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let (kind, types) = match (&self.returns, &self.operator) {
            (_, Some(operator)) => {
                let [item, output] = operator.items();
                (quote!(RemoteOperator), quote!(type Item = #item; type Output = #output;))
            }
            (Returns::Nothing | Returns::Value(_), None) => {
                let output = self.output();
                let shown = match &self.returns {
                    Returns::Value(ty) if self.is_shown(ty) => Some(self.text("output_text", ty)),
                    _ => None,
                };
                (quote!(RemoteUnary), quote!(type Output = #output; #shown))
            }
            (Returns::Stream(stream), None) => {
                let (setup, item) = (self.setup(stream), self.item(stream));
                let fails = stream.setup.as_ref().filter(|_| self.options.err.is_some());
                let setup_text = fails.map(|result| self.text("setup_text", result));
                let fails = stream.item.filter(|item| self.is_shown(item));
                let item_text = fails.map(|result| self.text("item_text", result));
                let types = quote!(type Setup = #setup; type Item = #item;);
                (quote!(RemoteStream), quote!(#types #setup_text #item_text))
            }
        };
        let takes = self.operator.as_ref().map(|operator| self.takes(operator));
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #private::#kind for #ident { #types }
            #takes
        }
    }

    /// Returns the outcome of a function that returns one result.
    pub(super) fn output(&self) -> TokenStream {
        let private = &self.private;
        match &self.returns {
            Returns::Value(ty) if !self.is_outcome(ty) => self.placed("Plain", ty),
            Returns::Value(ty) if self.is_shown(ty) => self.placed("Displayed", ty),
            Returns::Value(ty) => quote!(#ty),
            Returns::Nothing | Returns::Stream(_) => quote!(#private::Plain<()>),
        }
    }

    /// Returns the outcome of a stream's set-up.
    pub(super) fn setup(&self, stream: &Stream<'_>) -> TokenStream {
        match &stream.setup {
            Some(result) if self.options.err.is_some() => self.placed("Displayed", result),
            Some(result) => quote!(#result),
            None => self.placed("Plain", quote!(())),
        }
    }

    /// Returns the outcome of one item of a stream.
    pub(super) fn item(&self, stream: &Stream<'_>) -> Option<TokenStream> {
        stream.item.map(|item| match self.is_outcome(item) {
            true if self.options.err.is_some() => self.placed("Displayed", item),
            true => self.placed("Itself", item),
            false => self.placed("Plain", item),
        })
    }

    /// Whether `ty` is a `Result` whose error is sent as text.
    fn is_shown(&self, ty: &Type) -> bool {
        self.options.err.is_some() && self.is_outcome(ty)
    }

    /// Writes a function that formats an error of `result`, where its type is known: the compiler
    /// selects the first of several methods of that name whose bounds the type satisfies.
    ///
    /// ```text
    /// // Output:
    /// fn output_text(error: &dyn Any) -> ShownError {
    ///     use {TextOfContainer as _, TextOfDisplay as _, TextOfError as _, TextOfNothing as _};
    ///     (&&&ErrorsOf::<io::Result<u8>>::new()).text(error)
    /// }
    /// ```
    fn text(&self, method: &str, result: impl ToTokens) -> TokenStream {
        let private = &self.private;
        let method = Ident::new(method, Span::call_site());
        let error = Ident::new("error", Span::mixed_site());
        quote! {
            fn #method(#error: &dyn ::core::any::Any) -> #private::ShownError {
                #[allow(unused_imports)]
                use #private::{
                    TextOfContainer as _, TextOfDisplay as _, TextOfError as _, TextOfNothing as _,
                };
                (&&&#private::ErrorsOf::<#result>::new()).text(#error)
            }
        }
    }

    /// Whether `ty` is a `Result`; every other type is a plain value.
    fn is_outcome(&self, ty: &Type) -> bool {
        is_result(ty) && self.options.plain.is_none()
    }

    /// Writes `wrapper<ty>` with the span of the whole return type: there the compiler reports,
    /// once for all uses, a type that cannot cross the network.
    fn placed(&self, wrapper: &str, ty: impl ToTokens) -> TokenStream {
        let (first, last) = self.place_of_result();
        let private = self.private_at(first);
        let wrapper = Ident::new(wrapper, first);
        let open = quote_spanned!(first=> #private::#wrapper<);
        let close = quote_spanned!(last=> >);
        quote!(#open #ty #close)
    }

    /// Returns the first and the last token of the return type.
    pub(super) fn place_of_result(&self) -> (Span, Span) {
        match &self.function.signature.output {
            ReturnType::Type(_, ty) => ends(ty),
            ReturnType::Default => {
                let span = self.function.signature.ident.span();
                (span, span)
            }
        }
    }

    /// Writes `::easyremote::__private` with this span.
    pub(super) fn private_at(&self, span: Span) -> TokenStream {
        match &self.options.krate {
            // Only the location changes: a `$crate` in the path must keep its crate.
            Some(_) => self
                .private
                .clone()
                .into_iter()
                .map(|mut token| {
                    token.set_span(token.span().located_at(span));
                    token
                })
                .collect(),
            None => quote_spanned!(span=> ::easyremote::__private),
        }
    }
}

/// Returns the spans of the first and the last token of `ty`.
pub(super) fn ends(ty: &Type) -> (Span, Span) {
    let mut tokens = ty.to_token_stream().into_iter();
    let first = tokens.next().map_or_else(Span::call_site, |token| token.span());
    let last = tokens.last().map_or(first, |token| token.span());
    (first, last)
}
