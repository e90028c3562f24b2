//! Reports `#[async_trait]` next to `#[remote]`, which does the same: before and after its
//! expansion.

use proc_macro2::Span;
use syn::{Attribute, GenericParam, Signature};

use crate::mistakes::Mistakes;

const MESSAGE: &str = "`#[async_trait]` cannot be combined with `#[remote]`, which makes the \
                       futures `Send` itself: drop it here and on the implementations";

/// Reports `#[async_trait]` among the `attributes` of a block or a trait, or its expansion in the
/// `methods`. Returns whether it did; further mistakes are then not in what the user wrote.
pub(crate) fn check<'a>(
    attributes: &[Attribute],
    methods: impl Iterator<Item = &'a Signature>,
    mistakes: &mut Mistakes,
) -> bool {
    let written = attributes.iter().find(|attribute| {
        attribute.path().segments.last().is_some_and(|segment| segment.ident == "async_trait")
    });
    if let Some(written) = written {
        mistakes.at(written, MESSAGE);
        return true;
    }
    let Some(expanded) = methods.filter_map(expanded).next() else { return false };
    mistakes.push(syn::Error::new(expanded, MESSAGE));
    true
}

/// Returns the name of a method that `#[async_trait]` has expanded: it has a lifetime
/// `'async_trait`.
fn expanded(signature: &Signature) -> Option<Span> {
    let ours = |parameter: &GenericParam| match parameter {
        GenericParam::Lifetime(it) => it.lifetime.ident == "async_trait",
        _ => false,
    };
    signature.generics.params.iter().any(ours).then(|| signature.ident.span())
}
