//! An `impl` block under the attribute, as it is written.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::Parser;
use syn::{Error, ImplItem, ItemImpl};

use crate::model::method::{Item, Method, between_braces};
use crate::model::split_body;

/// A block; the bodies of its functions stay tokens.
pub(crate) struct Block {
    /// The block up to the braces, without items.
    pub(crate) header: ItemImpl,
    pub(crate) items: Vec<Item>,
}

impl Block {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, Error> {
        let (header, body) = split_body(item)?;
        let mut header: ItemImpl = syn::parse2(header)?;
        let (inner, items) = between_braces.parse2(body.stream())?;
        header.attrs.extend(inner);
        Ok(Self { header, items })
    }

    pub(crate) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.items.iter().filter_map(Item::method)
    }

    /// Returns the block for the compiler, without the attributes of `#[remote]`.
    ///
    /// ```text
    /// // Input:
    /// impl Model {
    ///     #[remote(timeout = "1s")]
    ///     fn embed(&self, #[ctx] ctx: &Context, text: String) -> Vec<f32> { .. }
    /// }
    ///
    /// // Output:
    /// impl Model {
    ///     fn embed(&self, ctx: &Context, text: String) -> Vec<f32> { .. }
    /// }
    /// ```
    pub(crate) fn kept(&self) -> TokenStream {
        let items = self.items.iter().map(|item| match item {
            Item::Method(method) => method.kept(),
            Item::Other(tokens) => tokens.clone(),
        });
        let items = vec![ImplItem::Verbatim(items.collect())];
        ItemImpl { items, ..self.header.clone() }.into_token_stream()
    }
}
