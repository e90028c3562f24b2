//! What a node runs.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};

use crate::expand::Twin;
use crate::returns::{Returns, Source, Stream};

impl Twin<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 { a + b }
    ///
    /// // Output:
    /// impl Local for add {
    ///     fn handler() -> Handler { blocking::<Self>(|(a, b,)| add(a, b)) }
    /// }
    /// ```
    pub(super) fn local(&self) -> TokenStream {
        let Self { ident, private, cfgs, .. } = self;
        let handler = self.handler();
        quote! {
            #(#cfgs)*
            #[allow(deprecated)]
            impl #private::Local for #ident {
                fn handler() -> #private::Handler { #handler }
            }
        }
    }

    /// ```text
    /// // Input:                                    // Output:
    /// fn f(a: A) -> T                              blocking::<Self>(|(a,)| f(a))
    /// async fn f(a: A) -> T                        asynchronous::<Self, _>(|(a,)| f(a))
    /// fn f(a: A) -> impl Iterator                  iterator::<Self, _>(|(a,)| Ok::<_, Never>(f(a)))
    /// async fn f(a: A) -> impl Iterator            async_iterator::<Self, _, _>(|(a,)| async move { Ok::<_, Never>(f(a).await) })
    /// fn f(a: A) -> Result<impl Stream, E>         stream::<Self, _, _>(|(a,)| async move { f(a) })
    /// async fn f(a: A) -> Result<impl Stream, E>   stream::<Self, _, _>(|(a,)| async move { f(a).await })
    /// ```
    fn handler(&self) -> TokenStream {
        let function = &self.function.signature.ident;
        // Names of our own: an argument may be called like the function.
        let names: Vec<Ident> = (0..self.arguments.len())
            .map(|n| format_ident!("argument_{n}", span = Span::mixed_site()))
            .collect();
        let called = quote!(#function(#(#names),*));
        // Whatever the compiler finds wrong with the result, a future that is not `Send` for one,
        // it says here: so all of this stands where the return type is written.
        let (first, last) = self.place_of_result();
        let is_async = self.function.signature.asyncness.is_some();
        let (constructor, body) = match &self.returns {
            Returns::Stream(stream) => self.stream_handler(stream, called, first),
            _ if is_async => (quote_spanned!(first=> asynchronous::<Self, _>), called),
            _ if self.options.inline.is_some() => (quote_spanned!(first=> inline::<Self>), called),
            _ => (quote_spanned!(first=> blocking::<Self>), called),
        };
        let private = self.private_at(first);
        let parameters = quote_spanned!(first=> |(#(#names,)*)|);
        let body = quote_spanned!(last=> { #body });
        let closure = quote_spanned!(last=> (#parameters #body));
        quote_spanned!(first=> #private::#constructor #closure)
    }

    fn stream_handler(
        &self,
        stream: &Stream<'_>,
        called: TokenStream,
        span: Span,
    ) -> (TokenStream, TokenStream) {
        let is_async = self.function.signature.asyncness.is_some();
        let wait = is_async.then(|| quote!(.await));
        let private = &self.private;
        let set_up = match stream.setup {
            Some(_) => quote!(#called #wait),
            None => quote!(::core::result::Result::Ok::<_, #private::Never>(#called #wait)),
        };
        match (stream.source, is_async) {
            (Source::Iterator, false) => (quote_spanned!(span=> iterator::<Self, _>), set_up),
            (Source::Iterator, true) => {
                let constructor = quote_spanned!(span=> async_iterator::<Self, _, _>);
                (constructor, quote!(async move { #set_up }))
            }
            (Source::Stream, _) => {
                let constructor = quote_spanned!(span=> stream::<Self, _, _>);
                (constructor, quote!(async move { #set_up }))
            }
        }
    }
}
