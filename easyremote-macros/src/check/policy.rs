//! Checks the options that set how a function runs and how its errors are sent.

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::parameters::Parameter;
use crate::returns::Returns;
use crate::types::is_result;

/// Adds to `mistakes` the options that do not apply to `function`.
pub(super) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    detached(function, options, mistakes);
    err(function, options, mistakes);
}

fn detached(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let Some(detached) = &options.detached else {
        return;
    };
    if options.stream.is_some() {
        mistakes.at(
            detached,
            "`detached` cannot be combined with `stream`: without its caller no one reads the \
             items",
        );
    } else if function.parameters().any(|parameter| Parameter::is_upload(&parameter)) {
        mistakes.at(
            detached,
            "`detached` cannot be combined with a client stream: without its caller no one ends it",
        );
    }
}

fn err(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let Some(err) = &options.err else {
        return;
    };
    let plain = options.plain.is_some();
    let fails = match Returns::of(&function.signature.output) {
        Returns::Nothing => false,
        Returns::Value(ty) => is_result(ty) && !plain,
        Returns::Stream(stream) => {
            stream.setup.is_some() || (stream.item.is_some_and(is_result) && !plain)
        }
    };
    if !fails {
        mistakes.at(err, "there is no error to display: return a `Result<T, E>`, or drop `err`");
    }
}
