//! Checks functions, blocks and traits, and reports each mistake at the token to change.

use quote::ToTokens;
use syn::{GenericParam, Safety, Signature};

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::Function;

pub(crate) mod async_trait;
mod batch;
pub(crate) mod block;
mod crossing;
mod declared;
mod method;
mod operator;
mod owner;
mod parameters;
mod policy;
mod resume;
mod returned;
pub(crate) mod service;
mod state;
#[cfg(test)]
mod tests;
mod tool;
mod upload;

/// Adds all mistakes of `function` under `options` to `mistakes`.
pub(crate) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    attributes(function, mistakes);
    qualifiers(&function.signature, mistakes);
    main_function(function, mistakes);
    wire_name(function, options, mistakes);
    tool::check(function, options, mistakes);
    if let (Some(skip), None) = (&options.skip, &function.receiver) {
        mistakes
            .at(skip, "`skip` leaves out a method of a `#[remote]` block: drop `#[remote]` here");
    }
    generics(&function.signature, mistakes);
    if let Some(operator) = &options.operator {
        operator::check(function, operator, options, mistakes);
        return declared::check(function, options, mistakes);
    }
    // A declaration has elements; the check of declarations reports `batch` there.
    let batch = options.batch.as_ref().filter(|_| !function.is_declaration());
    if let Some(batch) = batch {
        batch::check(function, batch, options, mistakes);
        // The rest of the rules is about one caller's context and result.
        let (one, element) = (function.with_one_context(), function.element());
        parameters::check(&one.signature, mistakes);
        policy::check(&element, options, mistakes);
        returned::check(&one, options, mistakes);
        return declared::check(function, options, mistakes);
    }
    parameters::check(&function.signature, mistakes);
    upload::check(function, options, mistakes);
    inline(function, options, mistakes);
    policy::check(function, options, mistakes);
    resume::check(function, options, mistakes);
    returned::check(function, options, mistakes);
    declared::check(function, options, mistakes);
}

fn attributes(function: &Function, mistakes: &mut Mistakes) {
    for attribute in &function.attributes {
        let last = attribute.path().segments.last();
        if last.is_some_and(|segment| segment.ident == "test") {
            mistakes.at(attribute, "a test cannot be remote: call the remote function from it");
        }
    }
    for repeated in function.attributes_named("remote") {
        mistakes.at(repeated, "`#[remote]` is given twice: write all options in one");
    }
}

fn qualifiers(signature: &Signature, mistakes: &mut Mistakes) {
    let mut refuse = |tokens: &dyn ToTokens, what: &str| {
        let message = format!("`#[remote]` takes an ordinary safe `fn` or `async fn`, not {what}");
        mistakes.at(tokens, message);
    };
    if let Some(token) = &signature.constness {
        refuse(token, "a `const` one");
    }
    if let Safety::Unsafe(token) = &signature.safety {
        refuse(token, "an `unsafe` one");
    }
    if let Some(abi) = &signature.abi {
        refuse(abi, "an `extern` one");
    }
    if let Some(variadic) = &signature.variadic {
        refuse(variadic, "a variadic one");
    }
}

fn main_function(function: &Function, mistakes: &mut Mistakes) {
    let ident = &function.signature.ident;
    if ident == "main" && function.receiver.is_none() {
        mistakes.at(ident, "`main` cannot be remote: move the work into a separate function");
    }
}

fn wire_name(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    // An implementation has the name of its declaration.
    if options.implements.is_some() {
        return;
    }
    let (name, origin, hint) = match &options.name {
        Some(literal) => (literal.value(), literal.to_token_stream(), ""),
        None => {
            let ident = &function.signature.ident;
            let hint = "; choose another one with `name = \"..\"`";
            (function.name(), ident.to_token_stream(), hint)
        }
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/-".contains(c);
    if name.is_empty() {
        mistakes.at(
            origin,
            "the name on the wire is empty: write one, or drop `name` to take the function's",
        );
    } else if name.len() > MAX_NAME {
        let length = name.len();
        mistakes.at(
            origin,
            format!("the name on the wire has {length} bytes, {MAX_NAME} are allowed{hint}"),
        );
    } else if let Some(odd) = name.chars().find(|c| !allowed(*c)) {
        let odd = odd.escape_debug();
        mistakes.at(
            origin,
            format!(
                "the name on the wire has a `{odd}`: only `A-Z a-z 0-9 _ . : / -` are allowed{hint}"
            ),
        );
    } else if name.starts_with(RESERVED) {
        mistakes.at(
            origin,
            format!("names that start with `{RESERVED}` are reserved for the library: choose another one"),
        );
    }
}

fn generics(signature: &Signature, mistakes: &mut Mistakes) {
    let name = &signature.ident;
    for parameter in &signature.generics.params {
        match parameter {
            GenericParam::Lifetime(parameter) => {
                let lifetime = &parameter.lifetime;
                mistakes.at(
                    parameter,
                    format!(
                        "remote functions cannot have lifetimes: drop `{lifetime}`, \
                         what crosses the network is owned"
                    ),
                );
            }
            GenericParam::Type(parameter) => mistakes.at(
                parameter,
                format!(
                    "remote functions cannot be generic: the node must know every type; \
                     write one function per type, e.g. `fn {name}_f32(..)`"
                ),
            ),
            GenericParam::Const(parameter) => mistakes.at(
                parameter,
                format!(
                    "remote functions cannot be generic: the node must know every length; \
                     use a `Vec`, or write one function per length, e.g. `fn {name}_16(..)`"
                ),
            ),
        }
    }
    // Reported only without generic parameters: with them, the clause goes when they go.
    if let (Some(clause), true) =
        (&signature.generics.where_clause, signature.generics.params.is_empty())
    {
        mistakes.at(clause, "remote functions have no `where` clause: nothing in them is generic");
    }
}

fn inline(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let Some(inline) = &options.inline else {
        return;
    };
    if options.stream.is_some() {
        mistakes.at(
            inline,
            "`inline` cannot be combined with `stream`: the next item may have to be waited for",
        );
    } else if function.signature.asyncness.is_some() {
        mistakes.at(
            inline,
            "`inline` is for a plain `fn`: an `async fn` never leaves the async threads",
        );
    } else if function.parameters().any(|parameter| parameter.is_upload()) {
        mistakes.at(
            inline,
            "`inline` cannot be combined with a client stream: its next item may have to be \
             waited for",
        );
    }
}

/// Longest name on the wire, in bytes; the call header stores no more.
const MAX_NAME: usize = 128;
/// Prefix of the names of the library's own functions.
const RESERVED: &str = "easyremote.";
