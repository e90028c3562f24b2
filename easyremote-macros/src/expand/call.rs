//! The function that calls a function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use crate::expand::Twin;
use crate::returns::Returns;

impl Twin<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// pub fn add(a: i64, mut b: i64) -> i64 { a + b }
    ///
    /// // Output:
    /// impl add {
    ///     pub fn call(client: &Client, a: i64, b: i64) -> Call<Self> { call(client, (a, b,)) }
    /// }
    /// ```
    pub(super) fn call(&self) -> TokenStream {
        let Self { ident, private, cfgs, .. } = self;
        let visibility = &self.function.visibility;
        let deprecated = self.function.attributes_named("deprecated");
        let names: Vec<&Ident> = self.arguments.iter().map(|it| it.ident).collect();
        let types = self.arguments.iter().map(|it| it.ty);
        let (returned, make) = match self.returns {
            Returns::Stream(_) => (quote!(StreamCall), quote!(stream_call)),
            Returns::Nothing | Returns::Value(_) => (quote!(Call), quote!(call)),
        };
        let doc = self.call_doc();
        // An argument may be called `client` too: hygiene keeps the two apart.
        let client = Ident::new("client", Span::mixed_site());
        quote! {
            #(#cfgs)*
            #[allow(deprecated)]
            impl #ident {
                #(#[doc = #doc])*
                #(#deprecated)*
                #[allow(dead_code, clippy::too_many_arguments)]
                #visibility fn call(#client: &#private::Client, #(#names: #types),*) -> #private::#returned<Self> {
                    #private::#make(#client, (#(#names,)*))
                }
            }
        }
    }

    fn call_doc(&self) -> Vec<String> {
        let function = self.function.name();
        let arguments: String = self.arguments.iter().map(|it| format!(", {}", it.ident)).collect();
        let call = format!("{}::call(&client{arguments})", self.ident);
        let text = match &self.returns {
            Returns::Nothing | Returns::Value(_) => format!(
                "Calls [`fn@{function}`] on a node: `{call}.await`.\n\n\
                 Options such as `.timeout(..)` are set before the `.await`, and nothing is sent \
                 before it. Dropping the call cancels it."
            ),
            Returns::Stream(stream) => {
                let open = match stream.setup {
                    Some(_) => " `.open().await` waits until the stream is set up, which may fail.",
                    None => "",
                };
                format!(
                    "Calls [`fn@{function}`] on a node: `{call}` is a stream of its items.\n\n\
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
