//! Checks a function that is applied to the items of streams.

use syn::{FnArg, Ident, Type};

use crate::args::Options;
use crate::check::crossing::Crossing;
use crate::check::parameters::{argument, attributes, pattern};
use crate::check::returned::is_future;
use crate::check::state;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::model::operator::is_reference;
use crate::parameters::{Origin, Parameter, helpers, referent};
use crate::returns::Returns;
use crate::types::{is_result, last_segment, owned, peel, spell};

/// Adds the mistakes in an operator to `mistakes`.
pub(super) fn check(
    function: &Function,
    operator: &Ident,
    options: &Options,
    mistakes: &mut Mistakes,
) {
    combined(options, mistakes);
    if function.receiver.is_some() {
        mistakes.at(operator, METHOD);
    }
    if let Some(token) = &function.signature.asyncness {
        let message = "an operator is a plain `fn`, which runs between two items: write `fn`, and \
                       wait in the function that returns the stream";
        mistakes.at(token, message);
    }
    parameters(function, mistakes);
    returned(function, options, mistakes);
}

const METHOD: &str = "an operator is a function, not a method: move it out of here, and take what `&self` \
                      has as `#[state]`";

/// Reports the options that say how a call runs: an operator has no calls.
fn combined(options: &Options, mistakes: &mut Mistakes) {
    for key in &options.keys {
        let why = match key.to_string().as_str() {
            "operator" | "name" | "stub" | "plain" | "implements" | "crate" | "skip" => continue,
            "stream" => "it makes one item of each, and the function that it is applied to streams",
            "inline" => "it always runs where the items are produced",
            "err" => "it has no error of its own",
            "skew" => {
                "its item and its arguments are written by position, so that both sides have the same \
                 types"
            }
            "batch" => {
                "it takes one item after the other; `batches` of a stream makes lists of them"
            }
            "tool" => "an agent calls the function that it is applied to: write it there",
            _ => "it runs within the call of the function that it is applied to: write it there",
        };
        let message = format!("`{key}` cannot be combined with `operator`: {why}");
        mistakes.at(key, message);
    }
}

fn parameters(function: &Function, mistakes: &mut Mistakes) {
    let item = function.item().map(|item| item.ty);
    if item.is_none() {
        let message = "an operator takes the items of a stream: add them as the first parameter, \
                       like `item: Reading`";
        mistakes.at(&function.signature.ident, message);
    }
    for input in &function.signature.inputs {
        let typed = match input {
            FnArg::Typed(typed) => typed,
            FnArg::Receiver(receiver) => {
                mistakes.at(receiver, METHOD);
                continue;
            }
        };
        attributes(&typed.attrs, mistakes);
        let parameter = Parameter::of(typed);
        match parameter.origin {
            Origin::State(_) | Origin::Context => state::check(&parameter, typed, mistakes),
            Origin::Resume => {
                for helper in helpers(&typed.attrs).take(1) {
                    let message =
                        "`#[resume]` is for the function that returns the stream: drop it";
                    mistakes.at(helper, message);
                }
            }
            Origin::Upload(_) => {
                let message = "an operator takes one item at a time, and no stream: write the type \
                               of the items";
                mistakes.at(parameter.ty, message);
            }
            Origin::Argument => {
                pattern(typed, &parameter, mistakes);
                match item.is_some_and(|item| std::ptr::eq(item, parameter.ty)) {
                    true => taken(&parameter, function, mistakes),
                    false => argument(&parameter, mistakes),
                }
            }
        }
    }
    state::once(&function.signature, mistakes);
}

/// Checks the parameter that is the item.
fn taken(parameter: &Parameter<'_>, function: &Function, mistakes: &mut Mistakes) {
    let Type::Reference(reference) = peel(parameter.ty) else {
        return argument(parameter, mistakes);
    };
    let name = parameter.name_or("item");
    let sized = owned(&reference.elem);
    if reference.mutability.is_some() {
        let message = format!(
            "an operator does not change items in place: take `{name}: {sized}` and return the new \
             item"
        );
        return mistakes.at(reference, message);
    }
    if sized != spell(referent(parameter.ty)) {
        let message = format!("items are of known size: write `{name}: &{sized}`");
        return mistakes.at(reference, message);
    }
    if !is_bool(function) {
        let message = format!(
            "an operator that takes items by reference passes them unchanged, and returns `bool`; to \
             make other items of them write `{name}: {sized}`"
        );
        return mistakes.at(reference, message);
    }
    if let Some(lifetime) = &reference.lifetime
        && lifetime.ident != "_"
    {
        mistakes.at(lifetime, format!("an item is lent for one call: write `{name}: &{sized}`"));
    }
    Crossing::argument(name).check(referent(parameter.ty), mistakes);
}

fn is_bool(function: &Function) -> bool {
    match Returns::of(&function.signature.output) {
        Returns::Value(ty) => last_segment(ty).is_some_and(|segment| segment.ident == "bool"),
        _ => false,
    }
}

fn returned(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let by_reference = function.item().is_some_and(|item| is_reference(item.ty));
    match Returns::of(&function.signature.output) {
        // What the item of a filter must be is said there.
        _ if by_reference => {}
        Returns::Nothing => {
            let message = "an operator returns what it makes of an item: `Option<T>`, where `None` \
                           leaves it out, or `T`; or it takes the item by reference and returns \
                           `bool`";
            mistakes.at(&function.signature.ident, message);
        }
        Returns::Stream(_) => {
            let message =
                "an operator makes at most one item of each: write `-> Option<T>` or `-> T`";
            mistakes.at(&function.signature.output, message);
        }
        Returns::Value(ty) if is_future(ty) => {
            let message = "an operator cannot wait: return an item instead of a future";
            mistakes.at(ty, message);
        }
        Returns::Value(ty) if is_result(ty) && options.plain.is_none() => {
            let message = "an operator has no error of its own: return `Option<T>` to leave items \
                           out, or write `plain` to pass this on as an item";
            mistakes.at(ty, message);
        }
        Returns::Value(ty) => Crossing::result().check(ty, mistakes),
    }
}
