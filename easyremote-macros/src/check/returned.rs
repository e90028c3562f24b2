//! Checks a return type: whether it is a stream must match the option `stream`.

use std::fmt::Display;

use quote::ToTokens;
use syn::{ReturnType, Signature, Type};

use crate::args::Options;
use crate::check::crossing::Crossing;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::returns::{Returns, Source, Stream, lasts, not_send};
use crate::types::{last_segment, peel, spell};

/// Adds the mistakes in the return type of `function` to `mistakes`.
pub(super) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let signature = &function.signature;
    match (Returns::of(&signature.output), &options.stream) {
        (Returns::Nothing, None) => {}
        (Returns::Nothing, Some(_)) => not_a_stream(signature.fn_token, None, mistakes),
        (Returns::Value(ty), None) => value(ty, signature, mistakes),
        (Returns::Value(ty), Some(_)) => not_a_stream(ty, Some(ty), mistakes),
        (Returns::Stream(_), None) => {
            if let ReturnType::Type(_, ty) = &signature.output {
                mistakes.at(ty, "this returns a stream: write `#[remote(stream)]`");
            }
        }
        (Returns::Stream(stream), Some(_)) => {
            if let ReturnType::Type(_, ty) = &signature.output {
                stream_in(&stream, ty, function, mistakes);
                // An iterator stays on its thread, and need not be `Send`.
                if stream.source == Source::Stream {
                    sendable(ty, mistakes);
                }
            }
        }
    }
}

fn value(ty: &Type, signature: &Signature, mistakes: &mut Mistakes) {
    if is_future(ty) {
        let name = &signature.ident;
        mistakes.at(
            ty,
            format!(
                "a future cannot be returned: write `async fn {name}(..)` and return its output"
            ),
        );
        return;
    }
    Crossing::result().check(ty, mistakes);
}

fn stream_in(stream: &Stream<'_>, ty: &Type, function: &Function, mistakes: &mut Mistakes) {
    if stream.item.is_none() {
        mistakes.at(
            ty,
            "the type of the items is not visible here: write `impl Stream<Item = T>` \
             or `impl Iterator<Item = T>`",
        );
    }
    let borrows = function.receiver.is_some() || function.parameters().any(|it| it.is_borrowed());
    let lasting = match borrows {
        true => lasts(ty),
        false => Vec::new(),
    };
    Crossing::stream(lasting).check(ty, mistakes);
}

/// Reports a stream in `ty` that is not `Send`: it moves between threads.
fn sendable(ty: &Type, mistakes: &mut Mistakes) {
    let Some(local) = not_send(ty) else {
        return;
    };
    let written = spell(local);
    let better = match local {
        Type::TraitObject(_) => format!("{written} + Send"),
        _ => written.replace("LocalBoxStream", "BoxStream"),
    };
    let message = format!("this moves between threads: write `{better}`");
    mistakes.at(local, message);
}

/// Reports `#[remote(stream)]` on a function that returns `ty`, or nothing.
fn not_a_stream(tokens: impl ToTokens, ty: Option<&Type>, mistakes: &mut Mistakes) {
    let list = ty.is_some_and(|ty| {
        matches!(peel(ty), Type::Array(_))
            || last_segment(ty).is_some_and(|segment| segment.ident == "Vec")
    });
    let advice: &dyn Display = match ty {
        None => &"return one, or drop `stream`",
        Some(_) if list => {
            &"return `list.into_iter()`, or drop `stream` to send the whole list at once"
        }
        Some(ty) => {
            &format!("`{}` does not show its items here; for one value drop `stream`", spell(ty))
        }
    };
    mistakes.at(
        tokens,
        format!(
            "`#[remote(stream)]` expects `impl Iterator<Item = T>` or `impl Stream<Item = T>`: {advice}"
        ),
    );
}

pub(super) fn is_future(ty: &Type) -> bool {
    match peel(ty) {
        Type::ImplTrait(it) => it.bounds.iter().any(|bound| {
            let syn::TypeParamBound::Trait(bound) = bound else {
                return false;
            };
            let last = bound.path.segments.last();
            last.is_some_and(|segment| segment.ident == "Future" || segment.ident == "IntoFuture")
        }),
        _ => last_segment(ty).is_some_and(|segment| segment.ident == "BoxFuture"),
    }
}
