//! Checks a function that is declared in one place and implemented in another.

use syn::visit::Visit;
use syn::{FnArg, Ident, Path, PreciseCapture};

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::parameters::{Origin, Parameter, helpers};
use crate::types::spell;

/// Adds to `mistakes` the options and parameters that belong to the implementation but are in the
/// declaration, or the reverse.
pub(super) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    match (&function.no_body, &options.implements) {
        (Some(semicolon), Some(_)) => mistakes.at(
            semicolon,
            "an implementation has a body: write `{ .. }`, or drop `implements` to declare a function",
        ),
        (Some(_), None) => declaration(function, options, mistakes),
        (None, Some(path)) => implementation(options, path, mistakes),
        (None, None) => {}
    }
}

/// Checks a function without a body, which has only what callers see.
fn declaration(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let at = format!("at the implementation, `#[remote(implements = {}, ..)]`", function.name());
    for key in among(options, &OF_IMPLEMENTATIONS) {
        mistakes.at(
            key,
            format!(
                "`{key}` sets how a node runs the function, but this only declares it: write it \
                 {at}, or write a body in place of `;`"
            ),
        );
    }
    for input in &function.signature.inputs {
        let FnArg::Typed(typed) = input else { continue };
        let what = match Parameter::of(typed).origin {
            Origin::State(_) => "state",
            Origin::Context => "ctx",
            // The client has to know that the function can be called again.
            Origin::Argument | Origin::Upload(_) | Origin::Resume => continue,
        };
        for helper in helpers(&typed.attrs).take(1) {
            let message =
                format!("a declaration has only what callers pass: write `#[{what}]` {at}");
            mistakes.at(helper, message);
        }
    }
    Captures(mistakes).visit_return_type(&function.signature.output);
}

/// Reports `use<..>`: a declaration has nothing to capture.
struct Captures<'a>(&'a mut Mistakes);

impl<'ast> Visit<'ast> for Captures<'_> {
    fn visit_precise_capture(&mut self, capture: &'ast PreciseCapture) {
        self.0.at(capture, "a declaration borrows nothing from its node: drop `use<..>`");
    }
}

/// Checks a function with `implements`, whose declaration has what callers see.
fn implementation(options: &Options, path: &Path, mistakes: &mut Mistakes) {
    let declaration = spell(path);
    for key in among(options, &OF_DECLARATIONS) {
        let message =
            format!("callers see the declaration: write `{key}` there, at `{declaration}`");
        mistakes.at(key, message);
    }
}

/// Returns the options of the function that are among `names`.
fn among<'a>(options: &'a Options, names: &'a [&str]) -> impl Iterator<Item = &'a Ident> {
    options.keys.iter().filter(|key| names.iter().any(|name| *key == name))
}

/// Options that concern only the node.
const OF_IMPLEMENTATIONS: [&str; 6] =
    ["inline", "detached", "concurrency", "needs", "batch", "replay"];
/// Options that concern only the callers.
const OF_DECLARATIONS: [&str; 6] = ["name", "timeout", "idempotent", "resumable", "skew", "tool"];
