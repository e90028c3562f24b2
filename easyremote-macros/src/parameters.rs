//! The parameters of a function, and where the value of each comes from.

use syn::{Attribute, FnArg, Ident, Pat, PatType, Signature, Type};

use crate::returns::{Source, bare};
use crate::types::peel;

/// One parameter, `self` excepted.
pub(crate) struct Parameter<'a> {
    /// Its name, if it is a plain one.
    pub(crate) ident: Option<&'a Ident>,
    pub(crate) ty: &'a Type,
    pub(crate) origin: Origin<'a>,
}

/// Where the value of a parameter comes from.
pub(crate) enum Origin<'a> {
    /// From the caller, as a part of the call.
    Argument,
    /// From the caller, item by item: a client stream; with the type of one item, if it is written.
    Upload(Option<&'a Type>),
    /// From the node, where it is kept by this type.
    State(&'a Type),
    /// From the node: what is known of the call.
    Context,
}

/// A parameter that a call has a part for.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) ty: &'a Type,
}

impl<'a> Parameter<'a> {
    pub(crate) fn of(typed: &'a PatType) -> Self {
        let ty = &*typed.ty;
        let origin = match helpers(&typed.attrs).next() {
            Some(helper) if helper.path().is_ident(CONTEXT) => Origin::Context,
            Some(_) => Origin::State(referent(ty)),
            None => match bare(ty) {
                Some((Source::Stream, item)) => Origin::Upload(item),
                _ => Origin::Argument,
            },
        };
        Self { ident: name_of(&typed.pat), ty, origin }
    }

    /// All of them, in order.
    pub(crate) fn all(signature: &'a Signature) -> impl Iterator<Item = Self> {
        signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(Self::of(typed)),
            FnArg::Receiver(_) => None,
        })
    }

    /// Its name and type, if `call` has it too; the check reports those that have no name.
    pub(crate) fn named(&self) -> Option<Named<'a>> {
        match self.origin {
            Origin::Argument | Origin::Upload(_) => {
                self.ident.map(|ident| Named { ident, ty: self.ty })
            }
            Origin::State(_) | Origin::Context => None,
        }
    }

    /// Its name, for a message that says what to write.
    pub(crate) fn name_or(&self, otherwise: &str) -> String {
        self.ident.map_or_else(|| otherwise.to_owned(), ToString::to_string)
    }

    /// Whether it is part of the arguments, which are sent at once.
    pub(crate) fn is_argument(&self) -> bool {
        matches!(self.origin, Origin::Argument)
    }

    /// Whether it is a client stream.
    pub(crate) fn is_upload(&self) -> bool {
        matches!(self.origin, Origin::Upload(_))
    }

    /// Whether the function borrows it from the node.
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self.origin, Origin::State(_) | Origin::Context)
    }
}

/// The attributes that mean something to `#[remote]` only: the compiler must not see them.
pub(crate) fn helpers(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| is_helper(attribute))
}

/// Whether it is `#[state]` or `#[ctx]`.
pub(crate) fn is_helper(attribute: &Attribute) -> bool {
    attribute.path().is_ident(STATE) || attribute.path().is_ident(CONTEXT)
}

/// `T` of `&T`; what is not a reference is reported by the check.
pub(crate) fn referent(ty: &Type) -> &Type {
    match peel(ty) {
        Type::Reference(reference) => peel(&reference.elem),
        other => other,
    }
}

/// Marks a parameter that the node has.
const STATE: &str = "state";
/// Marks the parameter that tells about the call.
const CONTEXT: &str = "ctx";

/// `a` of `a` and of `mut a`.
fn name_of(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
        Pat::Paren(paren) => name_of(&paren.pat),
        _ => None,
    }
}
