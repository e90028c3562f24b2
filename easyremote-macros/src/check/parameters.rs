//! Checks parameters: each needs a name, and a type that can cross the network.

use syn::{Attribute, FnArg, Pat, PatType, Signature};

use crate::check::crossing::Crossing;
use crate::check::{state, upload};
use crate::mistakes::Mistakes;
use crate::parameters::{Origin, Parameter};
use crate::returns::bare;
use crate::types::spell;

/// Adds the mistakes in the parameters of `signature` to `mistakes`.
pub(super) fn check(signature: &Signature, mistakes: &mut Mistakes) {
    let mut arguments = 0;
    for input in &signature.inputs {
        let typed = match input {
            FnArg::Typed(typed) => typed,
            FnArg::Receiver(receiver) => {
                mistakes.at(
                    receiver,
                    "put `#[remote]` on the `impl` block or the trait, not on the method",
                );
                continue;
            }
        };
        attributes(&typed.attrs, mistakes);
        let parameter = Parameter::of(typed);
        match parameter.origin {
            Origin::State(_) | Origin::Context => state::check(&parameter, typed, mistakes),
            // What it needs of the function is checked with it.
            Origin::Resume => {}
            Origin::Upload(_) => {
                pattern(typed, &parameter, mistakes);
                upload::kind(&parameter, mistakes);
            }
            Origin::Argument => {
                arguments += 1;
                pattern(typed, &parameter, mistakes);
                argument(&parameter, mistakes);
                if arguments == MAX_ARGUMENTS + 1 {
                    let message = format!(
                        "a remote function takes up to {MAX_ARGUMENTS} arguments: \
                         group them in a struct"
                    );
                    mistakes.at(typed, message);
                }
            }
        }
    }
    state::once(signature, mistakes);
}

pub(super) fn argument(parameter: &Parameter<'_>, mistakes: &mut Mistakes) {
    let name = parameter.name_or("name");
    let Some((_, item)) = bare(parameter.ty) else {
        return Crossing::argument(name).check(parameter.ty, mistakes);
    };
    let item = item.map_or_else(|| "T".to_owned(), spell);
    let message = format!(
        "an iterator cannot await what the caller sends: write `{name}: Vec<{item}>`, \
         or `{name}: impl Stream<Item = {item}>`"
    );
    mistakes.at(parameter.ty, message);
}

pub(super) fn attributes(attributes: &[Attribute], mistakes: &mut Mistakes) {
    for attribute in attributes {
        let path = attribute.path();
        if path.is_ident("cfg") || path.is_ident("cfg_attr") {
            mistakes.at(
                attribute,
                "a conditional argument changes the signature: \
                 put `#[cfg]` on the function",
            );
        }
    }
}

/// `call` has a parameter of the same name.
pub(super) fn pattern(typed: &PatType, parameter: &Parameter<'_>, mistakes: &mut Mistakes) {
    if parameter.ident.is_some() {
        return;
    }
    let ty = spell(&typed.ty);
    let message = match &*typed.pat {
        Pat::Wild(_) => format!("remote arguments need a name: write `_unused: {ty}`"),
        Pat::Ident(_) => format!("remote arguments are plain names: write `name: {ty}`"),
        _ => format!("remote arguments need a name: write `name: {ty}` and destructure inside"),
    };
    mistakes.at(&typed.pat, message);
}

/// Longest tuple for which arguments are implemented.
const MAX_ARGUMENTS: usize = 16;
