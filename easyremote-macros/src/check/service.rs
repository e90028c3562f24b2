//! Checks a trait.

use proc_macro2::TokenStream;
use syn::parse::{ParseStream, Parser};
use syn::{Attribute, Error, Token};

use crate::args::Options;
use crate::check::method::expose_all;
use crate::check::{async_trait, owner};
use crate::mistakes::Mistakes;
use crate::model::method::{Exposed, Item};
use crate::model::owner::Owner;
use crate::model::service::Service;

/// Returns the methods that callers see, and adds all mistakes in `service` to `mistakes`.
pub(crate) fn check(
    service: &Service,
    owner: &Owner,
    options: &Options,
    mistakes: &mut Mistakes,
) -> Vec<Exposed> {
    let signatures = service.methods().map(|method| &method.written.signature);
    if async_trait::check(&service.header.attrs, signatures, mistakes) {
        return Vec::new();
    }
    owner::once(&service.header.attrs, mistakes);
    owner::options(owner, options, mistakes);
    header(service, mistakes);
    for item in &service.items {
        if let Item::Other(tokens) = item {
            other(tokens, mistakes);
        }
    }
    let methods = expose_all(service.methods(), owner, mistakes);
    owner::together(owner, &methods, mistakes);
    if service.methods().next().is_none() {
        mistakes.at(&service.header.ident, "the trait has no methods: there is nothing to call");
    }
    methods
}

fn header(service: &Service, mistakes: &mut Mistakes) {
    let header = &service.header;
    if let Some(token) = &header.unsafety {
        mistakes.at(token, "`#[remote]` takes an ordinary safe trait, not an `unsafe` one");
    }
    if let Some(token) = &header.modifiers.auto_token {
        mistakes.at(token, "`#[remote]` takes an ordinary trait, not an `auto` one");
    }
    for parameter in &header.generics.params {
        let message = format!(
            "remote traits cannot be generic: callers and nodes must know every type; \
             write one trait per type, e.g. `trait {}F32`",
            header.ident
        );
        mistakes.at(parameter, message);
    }
    if let (Some(clause), true) = (&header.generics.where_clause, header.generics.params.is_empty())
    {
        mistakes.at(
            clause,
            "remote traits have no `where` clause: write the bounds of `Self` after `:`",
        );
    }
}

/// Reports an item of the trait that is not a function.
fn other(tokens: &TokenStream, mistakes: &mut Mistakes) {
    let begins = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        let message = if input.peek(Token![type]) {
            "the caller does not know who implements the trait, nor its types: \
             drop this, and name types in the methods"
        } else if input.peek(Token![const]) {
            "the caller does not know who implements the trait, nor its constants: \
             drop this, or make it a method"
        } else if input.peek(Token![;]) {
            // The rest of a constant with braces.
            ""
        } else {
            "a remote trait has methods only"
        };
        let span = input.span();
        input.parse::<TokenStream>()?;
        Ok((span, message))
    };
    match begins.parse2(tokens.clone()) {
        Ok((_, "")) => {}
        Ok((span, message)) => mistakes.push(Error::new(span, message)),
        Err(error) => mistakes.push(error),
    }
}
