//! Checks `tool`: what an agent needs to choose a function and to call it.

use quote::ToTokens;

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::Function;

/// Adds to `mistakes` what keeps `function` from being a tool, if it is marked as one.
pub(super) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    // That operators and implementations have no `tool` is reported with their other options.
    let (Some(tool), None, None) = (&options.tool, &options.operator, &options.implements) else {
        return;
    };
    // The name of a function without `name` has no such character.
    if let Some(name) = &options.name {
        spelling(&name.value(), name, mistakes);
    }
    if function.doc().trim().is_empty() {
        let message = "agents choose a tool by its description: write a doc comment, `/// ..`";
        mistakes.at(tool, message);
    }
    if function.parameters().any(|parameter| parameter.is_upload()) {
        let message = "`tool` cannot be combined with a client stream, which no agent can send: take \
                       a `Vec`, or drop `tool`";
        mistakes.at(tool, message);
    }
}

/// Checks a name, or the part of it that a block or a trait adds: names on the wire may have two
/// characters that names of tools may not ([MCP], "Tool Names").
///
/// [MCP]: https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool-names
pub(super) fn spelling(name: &str, origin: impl ToTokens, mistakes: &mut Mistakes) {
    if let Some(odd) = name.chars().find(|c| ":/".contains(*c)) {
        let message = format!(
            "the name of a tool has only `A-Z a-z 0-9 _ . -`, and `{name}` has a `{odd}`: write \
             another one, or drop `tool`"
        );
        mistakes.at(origin, message);
    }
}
