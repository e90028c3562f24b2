//! Expands `call` and `map` of a stub.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};

use crate::expand::stub::Stub;
use crate::parameters::{Named, Origin, Parameter};
use crate::returns::Returns;

impl Stub<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// pub fn add(a: i64, mut b: i64) -> i64 { a + b }
    /// #[remote(stream)]
    /// fn translate(#[state] m: &Model, audio: impl Stream<Item = Chunk>, to: Language) -> impl Stream<Item = Text> { .. }
    ///
    /// // Output:
    /// impl add {
    ///     pub fn call(client: &Client, a: i64, b: i64) -> Call<Self> { call(client, (a, b,)) }
    /// }
    /// impl translate {
    ///     fn call(client: &Client, audio: impl Stream<Item = Chunk> + Send + 'static, to: Language) -> StreamCall<Self> {
    ///         stream_call_with(client, (to,), audio)
    ///     }
    /// }
    /// ```
    pub(super) fn call(&self) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let visibility = &self.function.visibility;
        let deprecated = self.function.attributes_named("deprecated");
        let parameters = self.parameters.iter().filter_map(|it| self.call_parameter(it));
        let names = self.arguments.iter().map(|it| it.ident);
        let upload = self.parameters.iter().find(|it| it.is_upload());
        let upload = upload.and_then(Parameter::named).map(|it| it.ident).into_iter();
        let returned = match self.returns {
            Returns::Stream(_) => quote!(StreamCall),
            Returns::Nothing | Returns::Value(_) => quote!(Call),
        };
        let make = match (&self.returns, self.upload()) {
            (Returns::Stream(_), None) => quote!(stream_call),
            (Returns::Stream(_), Some(_)) => quote!(stream_call_with),
            (_, None) => quote!(call),
            (_, Some(_)) => quote!(call_with),
        };
        let doc = self.call_doc();
        let map = self.map();
        // An argument may be called `client` too: hygiene keeps the two apart.
        let client = Ident::new("client", Span::mixed_site());
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #ident {
                #(#[doc = #doc])*
                #(#deprecated)*
                #[allow(dead_code, private_interfaces, clippy::too_many_arguments)]
                #visibility fn call(#client: &#private::Client, #(#parameters),*) -> #private::#returned<Self> {
                    #private::#make(#client, (#(#names,)*) #(, #upload)*)
                }

                #map
            }
        }
    }

    /// Writes `map`, which makes many calls, for a function that has arguments and returns one
    /// result.
    ///
    /// ```text
    /// // Input:
    /// fn add(a: i64, b: i64) -> i64 { a + b }
    /// fn square(n: u64) -> u64 { n * n }
    ///
    /// // Output:
    /// fn map<I: IntoIterator<Item = (i64, i64)>>(client: &Client, inputs: I) -> Map<Self, I::IntoIter> {
    ///     map(client, inputs, |input| input)
    /// }
    /// fn map<I: IntoIterator<Item = u64>>(client: &Client, inputs: I) -> Map<Self, I::IntoIter> {
    ///     map(client, inputs, |input| (input,))
    /// }
    /// ```
    fn map(&self) -> Option<TokenStream> {
        let private = &self.private;
        if matches!(self.returns, Returns::Stream(_)) || self.upload().is_some() {
            return None;
        }
        let types = self.arguments.iter().map(|argument| argument.ty);
        let (item, arguments) = match self.arguments.len() {
            0 => return None,
            1 => (quote!(#(#types)*), quote!(|input| (input,))),
            _ => (quote!((#(#types),*)), quote!(|input| input)),
        };
        let visibility = &self.function.visibility;
        let deprecated = self.function.attributes_named("deprecated");
        let (function, stub) = (self.shown_function(), &self.ident);
        let doc = format!(
            " Calls {function} with each of `inputs`, on all nodes that offer it: \
             `{stub}::map(&client, inputs).concurrency(64)` is a stream of the results."
        );
        // At this span, the compiler reports an unsuitable result type once, where it is written.
        let (first, last) = self.place_of_result();
        let located = self.private_at(first);
        let [client, inputs] = ["client", "inputs"].map(|it| Ident::new(it, Span::mixed_site()));
        // Not a single letter, which may be the name of an argument's type.
        let items = Ident::new("__Inputs", Span::call_site());
        let open = quote_spanned!(first=> #located::Map<Self, #items::IntoIter);
        let close = quote_spanned!(last=> >);
        let begin = quote_spanned!(first=> #located::map);
        let with = quote_spanned!(last=> (#client, #inputs, #arguments));
        Some(quote! {
            #[doc = #doc]
            #(#deprecated)*
            #[allow(dead_code, private_interfaces, private_bounds)]
            #visibility fn map<#items>(#client: &#private::Client, #inputs: #items) -> #open #close
            where
                #items: ::core::iter::IntoIterator<Item = #item>,
            {
                #begin #with
            }
        })
    }

    /// Writes the parameter of `call`: `a: i64`, or for a client stream any stream; nothing for a
    /// parameter that the node provides.
    pub(super) fn call_parameter(&self, parameter: &Parameter<'_>) -> Option<TokenStream> {
        let private = &self.private;
        let Named { ident, ty } = parameter.named()?;
        Some(match parameter.origin {
            Origin::Upload(item) => {
                quote!(#ident: impl #private::Stream<Item = #item> + ::core::marker::Send + 'static)
            }
            _ => quote!(#ident: #ty),
        })
    }

    /// Returns the function for doc comments. A declaration cannot be linked to.
    pub(super) fn shown_function(&self) -> String {
        match self.function.is_declaration() {
            true => format!("`{}`", self.function.name()),
            false => format!("[`fn@{}`]", self.function.name()),
        }
    }

    fn call_doc(&self) -> Vec<String> {
        let function = self.shown_function();
        let named = self.parameters.iter().filter_map(Parameter::named);
        let arguments: String = named.map(|it| format!(", {}", it.ident)).collect();
        let call = format!("{}::call(&client{arguments})", self.ident);
        let text = match &self.returns {
            Returns::Nothing | Returns::Value(_) => format!(
                "Calls {function} on a node: `{call}.await`.\n\n\
                 Options such as `.timeout(..)` are set before the `.await`, and nothing is sent \
                 before it. Dropping the call cancels it."
            ),
            Returns::Stream(stream) => {
                let open = match stream.setup {
                    Some(_) => " `.open().await` waits until the stream is set up, which may fail.",
                    None => "",
                };
                format!(
                    "Calls {function} on a node: `{call}` is a stream of its items.\n\n\
                     Options such as `.timeout(..)` are set before the first item is asked for, and \
                     nothing is sent before that.{open} Dropping the stream cancels the call."
                )
            }
        };
        let space = |line: &str| {
            if line.is_empty() { String::new() } else { format!(" {line}") }
        };
        text.lines().map(space).collect()
    }
}
