//! Checks a batch function, which takes and returns lists.

use syn::{FnArg, ReturnType};

use crate::args::Options;
use crate::args::values::Batch;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::model::batch::{contexts, list_in_result, listed};
use crate::parameters::{Origin, Parameter};
use crate::types::{is_context, is_result, spell};

/// Adds the mistakes in a batch function to `mistakes`.
pub(super) fn check(
    function: &Function,
    batch: &Batch,
    options: &Options,
    mistakes: &mut Mistakes,
) {
    combined(batch, options, mistakes);
    parameters(function, mistakes);
    // The items of a stream are reported with `stream`.
    if options.stream.is_none() {
        returned(function, options, mistakes);
    }
}

fn combined(batch: &Batch, options: &Options, mistakes: &mut Mistakes) {
    let others = [
        (&options.stream, "each caller of a batch gets one result"),
        (&options.inline, "a batch waits for its callers"),
        (&options.detached, "a run lasts as long as one of its callers waits for it"),
    ];
    for (other, why) in others {
        if let Some(other) = other {
            let message = format!(
                "`{other}` cannot be combined with `{}`: {why}; drop one of them",
                batch.key
            );
            mistakes.at(other, message);
        }
    }
}

fn parameters(function: &Function, mistakes: &mut Mistakes) {
    let mut arguments = 0;
    for input in &function.signature.inputs {
        let FnArg::Typed(typed) = input else { continue };
        let parameter = Parameter::of(typed);
        let name = parameter.name_or("name");
        match parameter.origin {
            Origin::Argument => {
                arguments += 1;
                if listed(&typed.ty).is_none() {
                    let ty = spell(&typed.ty);
                    let message = format!(
                        "a batch function takes a list of what its callers pass: write \
                         `{name}: Vec<{ty}>`"
                    );
                    mistakes.at(&typed.ty, message);
                }
            }
            Origin::Upload(item) => {
                arguments += 1;
                let item = item.map_or_else(|| "T".to_owned(), spell);
                let message = format!(
                    "a batch has no client streams: write `{name}: Vec<{item}>`, or drop `batch`"
                );
                mistakes.at(&typed.ty, message);
            }
            Origin::Context if contexts(&typed.ty).is_none() => {
                let ty = crate::parameters::referent(&typed.ty);
                if is_context(ty) {
                    let message = format!(
                        "a batch has a context per caller: write `#[ctx] {name}: &[{}]`",
                        spell(ty)
                    );
                    mistakes.at(&typed.ty, message);
                }
            }
            Origin::State(_) | Origin::Context | Origin::Resume => {}
        }
    }
    if arguments == 0 {
        let message = "a batch function takes a list of what its callers pass: add an argument, \
                       like `texts: Vec<String>`";
        mistakes.at(&function.signature.ident, message);
    }
}

fn returned(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let rule = "a batch function returns one result per element";
    let ReturnType::Type(_, ty) = &function.signature.output else {
        let message = format!("{rule}: write `-> Vec<T>`, or `-> Vec<()>` if there is none");
        return mistakes.at(&function.signature.ident, message);
    };
    if listed(ty).is_some() {
        return;
    }
    let list = list_in_result(ty).filter(|_| options.plain.is_none());
    match list.and_then(listed) {
        Some(element) if is_result(element) => {
            let message = format!(
                "an error is of one element or of all: write `Vec<{}>`, or `Result<Vec<T>, E>`",
                spell(element)
            );
            mistakes.at(ty, message);
        }
        Some(_) => {}
        None if is_result(ty) => {
            let message = format!(
                "{rule}: write `Vec<{}>` for an error per element, or `Result<Vec<T>, E>` for one \
                 of all",
                spell(ty)
            );
            mistakes.at(ty, message);
        }
        None => mistakes.at(ty, format!("{rule}: write `Vec<{}>`", spell(ty))),
    }
}
