//! A trait under the attribute, as it is written.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::Parser;
use syn::{Error, ItemTrait, TraitItem};

use crate::model::method::{Item, Method, between_braces};
use crate::model::split_body;

/// A trait; the bodies of its functions stay tokens.
pub(crate) struct Service {
    /// The trait up to the braces, without items.
    pub(crate) header: ItemTrait,
    pub(crate) items: Vec<Item>,
}

impl Service {
    pub(crate) fn parse(item: TokenStream) -> Result<Self, Error> {
        let (header, body) = split_body(item)?;
        let mut header: ItemTrait = syn::parse2(header)?;
        let (inner, items) = between_braces.parse2(body.stream())?;
        header.attrs.extend(inner);
        Ok(Self { header, items })
    }

    pub(crate) fn methods(&self) -> impl Iterator<Item = &Method> {
        self.items.iter().filter_map(Item::method)
    }

    /// Returns the trait for the compiler; `method` writes each method.
    pub(crate) fn kept(&self, method: impl Fn(&Method) -> TokenStream) -> ItemTrait {
        let items = self.items.iter().map(|item| match item {
            Item::Method(it) => method(it),
            Item::Other(tokens) => tokens.clone(),
        });
        let items = vec![TraitItem::Verbatim(items.collect())];
        ItemTrait { items, ..self.header.clone() }
    }
}

impl ToTokens for Service {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.kept(Method::kept).to_tokens(tokens);
    }
}
