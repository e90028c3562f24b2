//! Checks what makes streams go on: the `#[resume]` parameter, with which one survives its node,
//! `replay`, and `resumable`.

use syn::{FnArg, Meta, Type};

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::parameters::{Origin, Parameter, helpers};
use crate::types::{last_segment, peel, spell};

/// Adds to `mistakes` what is wrong with the `#[resume]` parameters of `function`, and with `replay`
/// and `resumable`.
pub(super) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    if let (Some(replay), None) = (&options.replay, &options.stream) {
        mistakes.at(
            &replay.0,
            "`replay` is how much of a stream is kept: write `stream` too, or drop `replay`",
        );
    }
    resumable(function, options, mistakes);
    let mut seen = false;
    for input in &function.signature.inputs {
        let FnArg::Typed(typed) = input else { continue };
        let parameter = Parameter::of(typed);
        let (Origin::Resume, Some(helper)) = (&parameter.origin, helpers(&typed.attrs).next())
        else {
            continue;
        };
        if seen {
            mistakes.at(helper, "a stream goes on at one place: take `#[resume]` once");
            continue;
        }
        seen = true;
        if !matches!(helper.meta, Meta::Path(_)) {
            mistakes.at(&helper.meta, "`#[resume]` takes no value: write `#[resume]`");
        }
        for other in helpers(&typed.attrs).skip(1) {
            let message = "`#[resume]` is a number that the node passes: drop the other attribute";
            mistakes.at(other, message);
        }
        if !is_number(parameter.ty) {
            let name = parameter.name_or("done");
            let message =
                format!("`#[resume]` is a number of items: write `#[resume] {name}: u64`");
            mistakes.at(parameter.ty, message);
        }
        if options.stream.is_none() {
            let message = "`#[resume]` is where a stream goes on: write `#[remote(stream, idempotent)]` \
                           and return a stream, or drop the parameter";
            mistakes.at(helper, message);
        } else if function.parameters().any(|it| it.is_upload()) {
            let message = "`#[resume]` cannot be combined with a client stream: what the caller \
                           sent is gone when its node is";
            mistakes.at(helper, message);
        } else if options.idempotent.is_none() && options.implements.is_none() {
            let message = "a function with `#[resume]` is called again after its node was lost: \
                           write `#[remote(stream, idempotent)]`";
            mistakes.at(helper, message);
        }
    }
}

/// Checks `resumable`, which is about the stream that the caller sends.
fn resumable(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let Some(key) = &options.resumable else { return };
    let takes_stream = function.parameters().any(|it| it.is_upload());
    let message = match (&options.stream, takes_stream) {
        (None, true) => return,
        (None, false) => {
            "`resumable` is about a stream that the caller sends: take an `impl Stream<Item = T>`, or \
             drop `resumable`"
        }
        (Some(_), true) => {
            "`resumable` is for functions with one result: drop it, or send the result as one value"
        }
        (Some(_), false) => {
            "the caller makes a stream that it reads resumable, with `.resumable()`: drop `resumable`"
        }
    };
    mistakes.at(key, message);
}

/// Whether a type is `u64`.
fn is_number(ty: &Type) -> bool {
    spell(peel(ty)) == "u64" || last_segment(ty).is_some_and(|segment| segment.ident == "u64")
}
