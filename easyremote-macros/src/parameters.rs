//! The parameters of a function, and the origins of their values.

use syn::{Attribute, FnArg, Ident, Pat, PatType, Signature, Type};

use crate::returns::{Source, bare};
use crate::types::peel;

/// One parameter other than `self`.
pub(crate) struct Parameter<'a> {
    /// The name, if the pattern is a plain identifier.
    pub(crate) ident: Option<&'a Ident>,
    pub(crate) ty: &'a Type,
    pub(crate) origin: Origin<'a>,
    pub(crate) attributes: &'a [Attribute],
}

/// The origin of a parameter's value.
pub(crate) enum Origin<'a> {
    /// The caller, as an argument of the call.
    Argument,
    /// The caller, item by item: a client stream, with its item type, if that is written.
    Upload(Option<&'a Type>),
    /// The node's state of this type.
    State(&'a Type),
    /// The node: the context of the call.
    Context,
    /// The node: the number of items that a resumed stream has left behind.
    Resume,
}

/// A parameter that callers pass.
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
            Some(helper) if helper.path().is_ident(RESUME) => Origin::Resume,
            Some(_) => Origin::State(referent(ty)),
            None => match bare(ty) {
                Some((Source::Stream, item)) => Origin::Upload(item),
                _ => Origin::Argument,
            },
        };
        Self { ident: name_of(&typed.pat), ty, origin, attributes: &typed.attrs }
    }

    /// Returns all parameters, in order.
    pub(crate) fn all(signature: &'a Signature) -> impl Iterator<Item = Self> {
        signature.inputs.iter().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(Self::of(typed)),
            FnArg::Receiver(_) => None,
        })
    }

    /// Returns the name and type, if `call` has the parameter too. The check reports a parameter
    /// without a name.
    pub(crate) fn named(&self) -> Option<Named<'a>> {
        match self.origin {
            Origin::Argument | Origin::Upload(_) => {
                self.ident.map(|ident| Named { ident, ty: self.ty })
            }
            Origin::State(_) | Origin::Context | Origin::Resume => None,
        }
    }

    /// Returns the name for a message, or `otherwise`.
    pub(crate) fn name_or(&self, otherwise: &str) -> String {
        self.ident.map_or_else(|| otherwise.to_owned(), ToString::to_string)
    }

    /// Whether it is one of the arguments, which are sent together.
    pub(crate) fn is_argument(&self) -> bool {
        matches!(self.origin, Origin::Argument)
    }

    /// Whether it is a client stream.
    pub(crate) fn is_upload(&self) -> bool {
        matches!(self.origin, Origin::Upload(_))
    }

    /// Whether the node passes where a resumed stream goes on.
    pub(crate) fn is_resume(&self) -> bool {
        matches!(self.origin, Origin::Resume)
    }

    /// Whether the function borrows it from the node.
    pub(crate) fn is_borrowed(&self) -> bool {
        matches!(self.origin, Origin::State(_) | Origin::Context)
    }
}

/// Whether the compiler must not see an attribute of a parameter: it does not know helpers, and
/// refuses doc comments there.
pub(crate) fn is_taken_out(attribute: &Attribute) -> bool {
    is_helper(attribute) || attribute.path().is_ident("doc")
}

/// Returns the attributes that only `#[remote]` knows.
pub(crate) fn helpers(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| is_helper(attribute))
}

/// Whether it is `#[state]`, `#[ctx]` or `#[resume]`.
pub(crate) fn is_helper(attribute: &Attribute) -> bool {
    [STATE, CONTEXT, RESUME].iter().any(|name| attribute.path().is_ident(name))
}

/// Returns the `T` of `&T`. The check reports a type that is not a reference.
pub(crate) fn referent(ty: &Type) -> &Type {
    match peel(ty) {
        Type::Reference(reference) => peel(&reference.elem),
        other => other,
    }
}

/// Attribute of a parameter that borrows the node's state.
const STATE: &str = "state";
/// Attribute of the parameter that borrows the context of the call.
const CONTEXT: &str = "ctx";
/// Attribute of the parameter with the number of items that a resumed stream has left behind.
const RESUME: &str = "resume";

/// Returns the identifier `a` of the patterns `a` and `mut a`.
fn name_of(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
        Pat::Paren(paren) => name_of(&paren.pat),
        _ => None,
    }
}
