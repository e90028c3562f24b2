//! Checks an `impl` block.

use syn::{GenericParam, Type};

use crate::args::Options;
use crate::check::crossing::Crossing;
use crate::check::method::expose_all;
use crate::check::{async_trait, owner};
use crate::mistakes::Mistakes;
use crate::model::block::Block;
use crate::model::method::Exposed;
use crate::model::owner::Owner;
use crate::types::{peel, spell};

/// Returns the methods that callers see, and adds all mistakes in `block` to `mistakes`.
pub(crate) fn check(
    block: &Block,
    owner: &Owner,
    options: &Options,
    mistakes: &mut Mistakes,
) -> Vec<Exposed> {
    let ty = &block.header.self_ty;
    let signatures = block.methods().map(|method| &method.written.signature);
    if async_trait::check(&block.header.attrs, signatures, mistakes) {
        return Vec::new();
    }
    if let Some((path, _)) = &block.header.trait_ {
        let name = path.segments.last().map(|it| it.ident.to_string()).unwrap_or_default();
        let message = format!(
            "put `#[remote]` on the trait `{name}` itself; a node lists the implementation: \
             `functions![{name}Server<{}>]`",
            spell(ty)
        );
        mistakes.at(path, message);
        return Vec::new();
    }
    owner::once(&block.header.attrs, mistakes);
    owner::options(owner, options, mistakes);
    header(block, owner, mistakes);
    let methods = expose_all(block.methods(), owner, mistakes);
    owner::together(owner, &methods, mistakes);
    if !block.methods().any(|method| method.written.signature.receiver().is_some()) {
        mistakes.at(ty, "no function here takes `&self`: there is nothing to call on a value");
    }
    for method in block.methods() {
        let ident = &method.written.signature.ident;
        if ident == "remote" {
            let owner = owner.text();
            let message = format!("`#[remote]` adds `{owner}::remote(&client)`: rename this one");
            mistakes.at(ident, message);
        }
    }
    methods
}

fn header(block: &Block, owner: &Owner, mistakes: &mut Mistakes) {
    let name = owner.text();
    let generics = &block.header.generics;
    for parameter in &generics.params {
        match parameter {
            GenericParam::Lifetime(it) => {
                let lifetime = &it.lifetime;
                let message = format!("a value that a node keeps cannot borrow: drop `{lifetime}`");
                mistakes.at(parameter, message);
            }
            GenericParam::Type(_) => {
                let message = format!(
                    "remote methods cannot be generic: the node must know every type; \
                     write the block for one, e.g. `impl {name}<f32>`"
                );
                mistakes.at(parameter, message);
            }
            GenericParam::Const(_) => {
                let message = format!(
                    "remote methods cannot be generic: the node must know every length; \
                     write the block for one, e.g. `impl {name}<16>`"
                );
                mistakes.at(parameter, message);
            }
        }
    }
    if !generics.params.is_empty() {
        return;
    }
    if let Some(clause) = &generics.where_clause {
        mistakes.at(clause, "nothing here is generic: drop the `where` clause");
    }
    let ty = peel(&block.header.self_ty);
    match ty {
        Type::Path(path) if path.qself.is_none() => Crossing::receiver().check(ty, mistakes),
        _ => mistakes.at(ty, "`#[remote]` goes on the block of a type of your own: `impl Model`"),
    }
}
