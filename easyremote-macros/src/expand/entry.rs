//! Expands the registration by which `functions!()` finds a function.

use proc_macro2::TokenStream;
use quote::quote;

use crate::expand::stub::Stub;

impl Stub<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 { a + b }
    ///
    /// // Output:
    /// submit!(only::<add>);
    /// ```
    pub(super) fn entry(&self) -> TokenStream {
        let Self { ident, private, cfgs, .. } = self;
        quote! {
            #(#cfgs)*
            #private::submit!(#private::only::<#ident>);
        }
    }
}
