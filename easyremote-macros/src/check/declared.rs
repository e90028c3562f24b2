//! What is wrong with a function that is declared in one place and implemented in another.

use syn::visit::Visit;
use syn::{FnArg, Ident, Path, PreciseCapture};

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::parameters::{Origin, Parameter, helpers};
use crate::types::spell;

/// Adds to `mistakes` what a declaration or an implementation says in the place of the other.
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

/// A function without a body: what its callers see, and nothing else.
fn declaration(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let at = format!("at the implementation, `#[remote(implements = {}, ..)]`", function.name());
    for key in among(options, &OF_IMPLEMENTATIONS) {
        mistakes.at(
            key,
            format!(
                "`{key}` says how a node runs the function, and this only declares it: write it \
                 {at}, or write a body in place of `;`"
            ),
        );
    }
    for input in &function.signature.inputs {
        let FnArg::Typed(typed) = input else { continue };
        let what = match Parameter::of(typed).origin {
            Origin::State(_) => "state",
            Origin::Context => "ctx",
            Origin::Argument | Origin::Upload(_) => continue,
        };
        for helper in helpers(&typed.attrs).take(1) {
            let message = format!("a declaration has what callers give: write `#[{what}]` {at}");
            mistakes.at(helper, message);
        }
    }
    Captures(mistakes).visit_return_type(&function.signature.output);
}

/// Finds `use<..>`, which has nothing to capture.
struct Captures<'a>(&'a mut Mistakes);

impl<'ast> Visit<'ast> for Captures<'_> {
    fn visit_precise_capture(&mut self, capture: &'ast PreciseCapture) {
        self.0.at(capture, "a declaration borrows nothing from its node: drop `use<..>`");
    }
}

/// A function with `implements`: callers see its declaration.
fn implementation(options: &Options, path: &Path, mistakes: &mut Mistakes) {
    let declaration = spell(path);
    for key in among(options, &OF_DECLARATIONS) {
        let message =
            format!("callers see the declaration: write `{key}` there, at `{declaration}`");
        mistakes.at(key, message);
    }
}

/// The options that were given and are among `names`.
fn among<'a>(options: &'a Options, names: &'a [&str]) -> impl Iterator<Item = &'a Ident> {
    options.keys.iter().filter(|key| names.iter().any(|name| *key == name))
}

/// Options that concern the node, and not its callers.
const OF_IMPLEMENTATIONS: [&str; 4] = ["inline", "detached", "concurrency", "needs"];
/// Options that concern the callers, and not the node.
const OF_DECLARATIONS: [&str; 3] = ["name", "timeout", "idempotent"];
