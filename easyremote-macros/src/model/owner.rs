//! The owner of methods: the type of a block, or a trait.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Path, Type, Visibility};

use crate::args::Options;
use crate::model::block::Block;
use crate::model::lints::lints;
use crate::model::service::Service;
use crate::types::last_segment;

/// The type or the trait that methods belong to.
pub(crate) struct Owner {
    /// The owner's name.
    pub(crate) ident: Ident,
    /// The tokens that replace `Self`.
    pub(crate) named: TokenStream,
    /// The first part of the methods' names on the wire.
    pub(crate) name: String,
    /// The name of the handle that callers have.
    pub(crate) handle: Ident,
    pub(crate) kind: Kind,
    /// The owner's `#[cfg(..)]`.
    pub(crate) cfgs: Vec<Attribute>,
    /// The owner's lint levels.
    pub(crate) lints: Vec<Attribute>,
    /// `crate = path`
    pub(crate) krate: Option<Path>,
}

pub(crate) enum Kind {
    Type(Box<Type>),
    /// With the visibility of the trait.
    Trait(Visibility),
}

impl Owner {
    /// Returns the type of `block`. The check reports a type without a name.
    pub(crate) fn of_block(block: &Block, options: &Options) -> Self {
        let ty = &block.header.self_ty;
        let ident = match last_segment(ty) {
            Some(segment) => segment.ident.clone(),
            None => Ident::new("Model", Span::call_site()),
        };
        let kind = Kind::Type(ty.clone());
        Self::new(ident, ty.to_token_stream(), kind, &block.header.attrs, options)
    }

    /// Returns the trait as an owner. A stand-in replaces `Self`, because callers do not know its
    /// type.
    pub(crate) fn of_service(service: &Service, options: &Options) -> Self {
        let header = &service.header;
        let kind = Kind::Trait(header.vis.clone());
        Self::new(header.ident.clone(), quote!(Implementation), kind, &header.attrs, options)
    }

    fn new(
        ident: Ident,
        named: TokenStream,
        kind: Kind,
        attributes: &[Attribute],
        options: &Options,
    ) -> Self {
        let cfgs = attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"));
        let handle = format_ident!("{}Client", ident.unraw(), span = ident.span());
        Self {
            name: match &options.name {
                Some(literal) => literal.value(),
                None => ident.unraw().to_string(),
            },
            handle: options.stub.clone().unwrap_or(handle),
            cfgs: cfgs.cloned().collect(),
            lints: lints(attributes),
            krate: options.krate.clone(),
            ident,
            named,
            kind,
        }
    }

    /// Returns the name without an `r#`, such as `Model`.
    pub(crate) fn text(&self) -> String {
        self.ident.unraw().to_string()
    }

    /// Returns the type, unless the owner is a trait.
    pub(crate) fn ty(&self) -> Option<&Type> {
        match &self.kind {
            Kind::Type(ty) => Some(ty),
            Kind::Trait(_) => None,
        }
    }

    pub(crate) fn is_trait(&self) -> bool {
        matches!(self.kind, Kind::Trait(_))
    }
}
