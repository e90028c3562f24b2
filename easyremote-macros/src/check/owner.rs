//! Checks the options of a block or a trait, and its methods taken together.

use proc_macro2::Ident;
use quote::ToTokens;
use syn::Attribute;
use syn::ext::IdentExt;

use crate::args::Options;
use crate::check::{MAX_NAME, RESERVED, tool};
use crate::mistakes::Mistakes;
use crate::model::method::Exposed;
use crate::model::owner::Owner;

/// Adds to `mistakes` each further `#[remote]` among `attributes`.
pub(super) fn once(attributes: &[Attribute], mistakes: &mut Mistakes) {
    for repeated in attributes.iter().filter(|it| it.path().is_ident("remote")) {
        mistakes.at(repeated, "`#[remote]` is given twice: write all options in one");
    }
}

/// Adds the mistakes in the options of the block or trait to `mistakes`.
pub(super) fn options(owner: &Owner, options: &Options, mistakes: &mut Mistakes) {
    for key in options.keys.iter().filter(|key| !OPTIONS.contains(&&*key.to_string())) {
        let message = format!("`{key}` is for one method: write `#[remote({key} ..)]` on it");
        let message = match key.to_string().as_str() {
            "stream" | "inline" | "plain" | "idempotent" | "detached" | "tool" | "skip" => {
                message.replace(" ..", "")
            }
            _ => message,
        };
        mistakes.at(key, message);
    }
    let (origin, hint) = match &options.name {
        Some(literal) => (literal.to_token_stream(), ""),
        None => (owner.ident.to_token_stream(), "; choose another one with `name = \"..\"`"),
    };
    let name = &owner.name;
    let odd = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"_./-".contains(*c));
    if name.is_empty() {
        mistakes.at(origin, "the name on the wire is empty: write one, or drop `name`");
    } else if let Some(odd) = odd {
        let message = format!(
            "the name on the wire has a `{}`: only `A-Z a-z 0-9 _ . / -` are allowed before the \
             method's part{hint}",
            odd.escape_debug()
        );
        mistakes.at(origin, message);
    } else if format!("{name}.").starts_with(RESERVED) {
        let message = format!(
            "names that start with `{RESERVED}` are reserved for the library: choose another one"
        );
        mistakes.at(origin, message);
    }
}

/// Adds to `mistakes` the methods whose names collide, with each other or with generated methods.
pub(super) fn together(owner: &Owner, methods: &[Exposed], mistakes: &mut Mistakes) {
    let mut names: Vec<(String, bool)> = Vec::new();
    for Exposed { function, options } in methods {
        let ident = &function.signature.ident;
        own_methods(owner, ident, mistakes);
        let (name, origin) = match &options.name {
            Some(literal) => (literal.value(), literal.to_token_stream()),
            None => (function.name(), ident.to_token_stream()),
        };
        let length = owner.name.len() + 1 + name.len();
        if length > MAX_NAME && name.len() <= MAX_NAME {
            let whole = format!("{}.{name}", owner.name);
            let message = format!(
                "the name on the wire, `{whole}`, has {length} bytes, {MAX_NAME} are allowed; \
                 choose another one with `name = \"..\"`"
            );
            mistakes.at(&origin, message);
        }
        if let Some(key) = &options.tool {
            tool::spelling(&owner.name, key, mistakes);
        }
        // Methods with a `#[cfg]` may exclude each other.
        let conditional = function.attributes_named("cfg").next().is_some();
        if names.iter().any(|(other, maybe)| *other == name && !(*maybe && conditional)) {
            let message = format!("two methods are called `{name}` on the wire: rename one");
            mistakes.at(&origin, message);
        }
        names.push((name, conditional));
    }
}

/// Reports a method with the name of one that the handle has itself.
fn own_methods(owner: &Owner, ident: &Ident, mistakes: &mut Mistakes) {
    let name = ident.unraw().to_string();
    if name == "new" || name == "instance" {
        let handle = &owner.handle;
        let message = format!(
            "`{handle}` has its own `{name}`: rename this one, or leave it out: \
             `#[remote(skip)]`"
        );
        mistakes.at(ident, message);
    }
}

/// The options that a block or a trait can have.
const OPTIONS: [&str; 3] = ["name", "stub", "crate"];
