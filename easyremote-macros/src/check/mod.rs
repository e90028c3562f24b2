//! Finds everything that keeps a function from being remote, each at the place to change.

use quote::ToTokens;
use syn::{Attribute, FnArg, GenericParam, Ident, Pat, Safety, Signature, Type};

use crate::args::Options;
use crate::check::crossing::Crossing;
use crate::mistakes::Mistakes;
use crate::model::{Function, name_of};
use crate::returns::bare;
use crate::types::spell;

mod crossing;
mod returned;
#[cfg(test)]
mod tests;

/// Adds everything that is wrong with `function` under `options` to `mistakes`.
pub(crate) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    if let Some(semicolon) = &function.no_body {
        mistakes.at(semicolon, "functions without a body are not supported yet: write `{ .. }`");
    }
    attributes(function, mistakes);
    qualifiers(&function.signature, mistakes);
    wire_name(function, options, mistakes);
    generics(&function.signature, mistakes);
    arguments(&function.signature, mistakes);
    inline(function, options, mistakes);
    returned::check(function, options, mistakes);
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
    if signature.ident == "main" {
        mistakes.at(
            &signature.ident,
            "`main` cannot be remote: move the work into a function of its own",
        );
    }
}

fn wire_name(function: &Function, options: &Options, mistakes: &mut Mistakes) {
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
                "the name on the wire has a `{odd}`: it consists of `A-Z a-z 0-9 _ . : / -`{hint}"
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
    // A `where` clause goes when its parameters go, so it is a mistake only by itself.
    if let (Some(clause), true) =
        (&signature.generics.where_clause, signature.generics.params.is_empty())
    {
        mistakes.at(clause, "remote functions have no `where` clause: nothing in them is generic");
    }
}

fn arguments(signature: &Signature, mistakes: &mut Mistakes) {
    for input in &signature.inputs {
        match input {
            FnArg::Receiver(receiver) => mistakes.at(
                receiver,
                "methods are not supported yet: write a free function without `self`",
            ),
            FnArg::Typed(argument) => {
                argument_attributes(&argument.attrs, mistakes);
                match name_of(&argument.pat) {
                    Some(name) => argument_type(name, &argument.ty, mistakes),
                    None => argument_pattern(&argument.pat, &argument.ty, mistakes),
                }
            }
        }
    }
    if let Some(first_too_many) = signature.inputs.iter().nth(MAX_ARGUMENTS) {
        mistakes.at(
            first_too_many,
            format!(
                "a remote function takes up to {MAX_ARGUMENTS} arguments: group them in a struct"
            ),
        );
    }
}

fn argument_attributes(attributes: &[Attribute], mistakes: &mut Mistakes) {
    for attribute in attributes {
        let path = attribute.path();
        if path.is_ident("cfg") || path.is_ident("cfg_attr") {
            mistakes.at(
                attribute,
                "an argument that is not always there changes the signature: \
                 put `#[cfg]` on the function",
            );
        } else if path.is_ident("state") || path.is_ident("ctx") {
            let name = spell(path);
            mistakes.at(attribute, format!("`#[{name}]` arguments are not supported yet"));
        }
    }
}

fn argument_pattern(pat: &Pat, ty: &Type, mistakes: &mut Mistakes) {
    let ty_text = spell(ty);
    let message = match pat {
        Pat::Wild(_) => format!("remote arguments need a name: write `_unused: {ty_text}`"),
        Pat::Ident(_) => format!("remote arguments are plain names: write `name: {ty_text}`"),
        _ => {
            format!("remote arguments need a name: write `name: {ty_text}` and destructure inside")
        }
    };
    mistakes.at(pat, message);
    Crossing::argument("name".to_owned()).check(ty, mistakes);
}

fn argument_type(name: &Ident, ty: &Type, mistakes: &mut Mistakes) {
    if bare(ty).is_some() {
        mistakes
            .at(ty, "client streams are not supported yet: take a `Vec`, or call once per item");
        return;
    }
    Crossing::argument(name.to_string()).check(ty, mistakes);
}

fn inline(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let Some(inline) = &options.inline else {
        return;
    };
    if options.stream.is_some() {
        mistakes.at(
            inline,
            "`inline` does not go with `stream`: the next item may always be a wait away",
        );
    } else if function.signature.asyncness.is_some() {
        mistakes.at(
            inline,
            "`inline` is for a plain `fn`: an `async fn` never leaves the async threads",
        );
    }
}

/// Longest name on the wire, in bytes; the call header stores no more.
const MAX_NAME: usize = 128;
/// Longest tuple for which arguments are implemented.
const MAX_ARGUMENTS: usize = 16;
/// What the names of the library's own functions start with.
const RESERVED: &str = "easyremote.";
