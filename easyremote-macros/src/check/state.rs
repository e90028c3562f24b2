//! Checks `#[state]` and `#[ctx]` parameters, which a function borrows from its node.

use std::iter;

use syn::{Attribute, FnArg, Meta, PatType, Signature, Type};

use crate::check::crossing::Crossing;
use crate::mistakes::Mistakes;
use crate::parameters::{Origin, Parameter, helpers, referent};
use crate::returns::bare;
use crate::types::{is_context, last_segment, owned, peel, spell};

/// Adds the mistakes in one such parameter to `mistakes`.
pub(super) fn check(parameter: &Parameter<'_>, typed: &PatType, mistakes: &mut Mistakes) {
    let attributes: Vec<&Attribute> = helpers(&typed.attrs).collect();
    let Some((first, others)) = attributes.split_first() else {
        return;
    };
    only_one(first, others, mistakes);
    if bare(parameter.ty).is_some() {
        let name = spell(first.path());
        let message = format!("a client stream comes from the caller: drop `#[{name}]`");
        mistakes.at(first, message);
        return;
    }
    match parameter.origin {
        Origin::Context => context(parameter, mistakes),
        _ => state(parameter, mistakes),
    }
}

/// Reports a second `#[ctx]`: a call has one context.
pub(super) fn once(signature: &Signature, mistakes: &mut Mistakes) {
    let contexts = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => match Parameter::of(typed).origin {
            Origin::Context => helpers(&typed.attrs).next(),
            _ => None,
        },
        FnArg::Receiver(_) => None,
    });
    for repeated in contexts.skip(1) {
        mistakes.at(repeated, "a call has one context: take `#[ctx]` once");
    }
}

fn only_one(first: &Attribute, others: &[&Attribute], mistakes: &mut Mistakes) {
    for attribute in iter::once(&first).chain(others) {
        if !matches!(attribute.meta, Meta::Path(_)) {
            let name = spell(attribute.path());
            let message = format!("`#[{name}]` takes no value: write `#[{name}]`");
            mistakes.at(&attribute.meta, message);
        }
    }
    for other in others {
        let name = spell(other.path());
        let message = if first.path().is_ident(&name) {
            format!("`#[{name}]` is given twice")
        } else {
            "`#[state]` is what the node keeps, `#[ctx]` is the context of the call: \
             write one of them"
                .to_owned()
        };
        mistakes.at(other, message);
    }
}

fn context(parameter: &Parameter<'_>, mistakes: &mut Mistakes) {
    let name = parameter.name_or("ctx");
    let ty = referent(parameter.ty);
    if !is_context(ty) {
        let ty = spell(ty);
        mistakes.at(
            parameter.ty,
            format!(
                "`#[ctx]` is the context of the call: write `#[ctx] {name}: &Context`, \
                 or `#[state] {name}: &{ty}` for what the node keeps"
            ),
        );
        return;
    }
    let better = format!("write `#[ctx] {name}: &{}`", spell(ty));
    borrowed(parameter, &better, "the context is lent", mistakes);
}

fn state(parameter: &Parameter<'_>, mistakes: &mut Mistakes) {
    let Origin::State(ty) = parameter.origin else {
        return;
    };
    let name = parameter.name_or("state");
    if let Some(sized) = sized(ty) {
        let message =
            format!("the node keeps values of known size: write `#[state] {name}: &{sized}`");
        mistakes.at(ty, message);
        return;
    }
    let better = format!("write `#[state] {name}: &{}`", spell(ty));
    borrowed(parameter, &better, "the node lends its state", mistakes);
    Crossing::state().check(ty, mistakes);
}

/// Reports a parameter that is not `&T`; `better` is the suggestion.
fn borrowed(parameter: &Parameter<'_>, better: &str, lent: &str, mistakes: &mut Mistakes) {
    let Type::Reference(reference) = peel(parameter.ty) else {
        mistakes.at(parameter.ty, format!("{lent}: {better}"));
        return;
    };
    if reference.mutability.is_some() {
        let message = format!("calls run at the same time and share it: {better}");
        mistakes.at(reference, message);
    }
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident != "_"
    {
        mistakes.at(lifetime, format!("{lent} for one call: {better}"));
    }
}

/// Returns the sized type to keep instead of an unsized one: `String` instead of `str`.
fn sized(ty: &Type) -> Option<String> {
    match peel(ty) {
        Type::Slice(_) => Some(owned(ty)),
        Type::TraitObject(_) => Some(format!("Arc<{}>", spell(ty))),
        _ => {
            let segment = last_segment(ty)?;
            let unsized_name = matches!(segment.ident.to_string().as_str(), "str" | "Path");
            unsized_name.then(|| owned(ty))
        }
    }
}
