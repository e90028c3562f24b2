//! Checks one method of a block or a trait.

use syn::{Error, Receiver, ReceiverKind};

use crate::check::check;
use crate::mistakes::Mistakes;
use crate::model::method::{Exposed, Method};
use crate::model::owner::{Kind, Owner};
use crate::parameters::helpers;
use crate::types::spell;

/// Returns the remote ones among `methods` as their callers see them, and adds all mistakes to
/// `mistakes`.
pub(super) fn expose_all<'a>(
    methods: impl Iterator<Item = &'a Method>,
    owner: &Owner,
    mistakes: &mut Mistakes,
) -> Vec<Exposed> {
    methods.filter_map(|method| expose(method, owner, mistakes)).collect()
}

/// Returns `None` if the method is not remote.
fn expose(method: &Method, owner: &Owner, mistakes: &mut Mistakes) -> Option<Exposed> {
    let mut options = method.options(mistakes);
    if let Some(key) = options.keys.iter().find(|key| *key == "crate") {
        let place = if owner.is_trait() { "the trait" } else { "the block" };
        mistakes.at(key, format!("`crate` is for all methods: write it on {place}"));
    }
    if let Some(key) = options.keys.iter().find(|key| *key == "implements") {
        let message = "a method implements no declaration: write a `#[remote]` trait instead, and \
                       implement that";
        mistakes.at(key, message);
    }
    if options.skip.is_some() {
        for key in options.keys.iter().filter(|key| *key != "skip") {
            mistakes.at(key, format!("`skip` leaves the method out: drop `{key}`"));
        }
        return None;
    }
    let mut replaced = Vec::new();
    let common = [&owner.cfgs[..], &owner.lints[..]].concat();
    let Some(mut function) = method.exposed(&owner.named, &common, &mut replaced) else {
        without_receiver(method, owner, mistakes);
        return None;
    };
    if let Kind::Trait(visibility) = &owner.kind {
        function.visibility = visibility.clone();
        for span in replaced {
            let message = "the caller does not know who implements the trait: name a type";
            mistakes.push(Error::new(span, message));
        }
    } else if let Some(semicolon) = &method.written.no_body {
        mistakes.at(semicolon, "a method of a block has a body: write `{ .. }`");
    }
    if let Some(receiver) = &function.receiver {
        check_receiver(receiver, mistakes);
    }
    check(&function, &options, mistakes);
    if options.batch.is_some() {
        function = function.element();
    }
    options.krate.clone_from(&owner.krate);
    Some(Exposed { function, options })
}

fn without_receiver(method: &Method, owner: &Owner, mistakes: &mut Mistakes) {
    let ident = &method.written.signature.ident;
    if owner.is_trait() {
        let message =
            format!("`{ident}` has no receiver: add `&self`, or leave it out: `#[remote(skip)]`");
        mistakes.at(ident, message);
    } else if let Some(ours) = method.ours.first() {
        let message = format!(
            "`{ident}` has no receiver: add `&self`, or drop `#[remote]`; a free function \
             can be remote too"
        );
        mistakes.at(ours, message);
    }
}

/// Checks the receiver: calls share the value, so it must be `&self`.
fn check_receiver(receiver: &Receiver, mistakes: &mut Mistakes) {
    for helper in helpers(&receiver.attrs) {
        let name = spell(helper.path());
        mistakes.at(helper, format!("`&self` is what the node keeps: drop `#[{name}]`"));
    }
    let or = "or leave the method out: `#[remote(skip)]`";
    match &receiver.kind {
        ReceiverKind::Reference(_, _, Some(_)) => {
            let message = format!(
                "calls run at the same time and share it: write `&self`, with a `Mutex` around what \
                 changes, {or}"
            );
            mistakes.at(receiver, message);
        }
        ReceiverKind::Reference(_, lifetime, None) => {
            if let Some(lifetime) = lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
                mistakes.at(lifetime, "the node lends the value for one call: write `&self`");
            }
        }
        _ => mistakes.at(receiver, format!("the node keeps the value: write `&self`, {or}")),
    }
}
