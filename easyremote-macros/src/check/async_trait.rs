//! `#[async_trait]` next to `#[remote]`, which does its work: before it is expanded, and after.

use proc_macro2::Span;
use syn::{Attribute, GenericParam, Signature};

use crate::mistakes::Mistakes;

const MESSAGE: &str = "`#[async_trait]` does not go with `#[remote]`, which makes the futures `Send` \
                       itself: drop it here and on what implements the trait";

/// Reports `#[async_trait]` among the `attributes` of a block or a trait, or what it has made of the
/// `methods`. Returns whether it did: what else is wrong with them is not what the user wrote.
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

/// The name of a method that `#[async_trait]` has written: it has a lifetime `'async_trait`.
fn expanded(signature: &Signature) -> Option<Span> {
    let ours = |parameter: &GenericParam| match parameter {
        GenericParam::Lifetime(it) => it.lifetime.ident == "async_trait",
        _ => false,
    };
    signature.generics.params.iter().any(ours).then(|| signature.ident.span())
}
