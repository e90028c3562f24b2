//! Classifies a return type: nothing, a value, or a stream that may be inside a `Result`.

use syn::punctuated::Punctuated;
use syn::{
    GenericArgument, Lifetime, Path, PathArguments, ReturnType, Token, Type, TypeImplTrait,
    TypeParamBound, TypeTraitObject, parse_quote,
};

use crate::types::{is_result, item_of, last_segment, lifetime_arguments, peel, type_arguments};

/// The shape of a return type.
pub(crate) enum Returns<'a> {
    /// No return type.
    Nothing,
    /// A type other than a stream.
    Value(&'a Type),
    /// An iterator or a stream, bare or inside a `Result`.
    Stream(Stream<'a>),
}

/// A returned stream.
pub(crate) struct Stream<'a> {
    /// How its items are produced.
    pub(crate) source: Source,
    /// The type of one item, if it is written.
    pub(crate) item: Option<&'a Type>,
    /// The enclosing `Result`, with `()` in place of the stream.
    pub(crate) setup: Option<Box<Type>>,
}

/// How the items of a stream are produced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// By `Iterator::next`, which may block.
    Iterator,
    /// By `Stream::poll_next`.
    Stream,
}

impl<'a> Returns<'a> {
    pub(crate) fn of(output: &'a ReturnType) -> Self {
        let ReturnType::Type(_, ty) = output else {
            return Self::Nothing;
        };
        if let Some((source, item)) = bare(ty) {
            return Self::Stream(Stream { source, item, setup: None });
        }
        match inside_result(ty) {
            Some(stream) => Self::Stream(stream),
            None => Self::Value(ty),
        }
    }
}

/// Recognizes a stream: `impl Iterator<Item = T>`, `Pin<Box<dyn Stream<Item = T>>>`,
/// `BoxStream<'_, T>`.
pub(crate) fn bare(ty: &Type) -> Option<(Source, Option<&Type>)> {
    match peel(ty) {
        Type::ImplTrait(it) => among(&it.bounds),
        Type::TraitObject(it) => among(&it.bounds),
        other => {
            let segment = last_segment(other)?;
            let argument = type_arguments(segment).next();
            match segment.ident.to_string().as_str() {
                "Box" | "Pin" => bare(argument?),
                "BoxStream" | "LocalBoxStream" => Some((Source::Stream, argument)),
                _ => None,
            }
        }
    }
}

/// Returns the part of a stream's type that is visibly not `Send`: `dyn Iterator<Item = T>` without
/// `+ Send`, `LocalBoxStream<'_, T>`.
pub(crate) fn not_send(ty: &Type) -> Option<&Type> {
    let ty = peel(ty);
    if let Type::TraitObject(it) = ty {
        let sendable = it.bounds.iter().any(|bound| {
            let TypeParamBound::Trait(bound) = bound else {
                return false;
            };
            bound.path.segments.last().is_some_and(|segment| segment.ident == "Send")
        });
        return (!sendable).then_some(ty);
    }
    let segment = last_segment(ty)?;
    match segment.ident.to_string().as_str() {
        "LocalBoxStream" => Some(ty),
        "Box" | "Pin" => not_send(type_arguments(segment).next()?),
        _ if is_result(ty) => not_send(type_arguments(segment).next()?),
        _ => None,
    }
}

/// Returns the lifetimes of a stream: `'_` of `impl Stream<Item = T> + '_` and of
/// `BoxStream<'_, T>`. Lifetimes of its items are not included.
pub(crate) fn lasts<'a>(ty: &'a Type) -> Vec<&'a Lifetime> {
    let ty = peel(ty);
    if let Type::ImplTrait(TypeImplTrait { bounds, .. })
    | Type::TraitObject(TypeTraitObject { bounds, .. }) = ty
    {
        let lifetime = |bound: &'a TypeParamBound| match bound {
            TypeParamBound::Lifetime(lifetime) => Some(lifetime),
            _ => None,
        };
        return bounds.iter().filter_map(lifetime).collect();
    }
    let Some(segment) = last_segment(ty) else {
        return Vec::new();
    };
    match segment.ident.to_string().as_str() {
        "BoxStream" | "LocalBoxStream" => lifetime_arguments(segment).collect(),
        name if name == "Box" || name == "Pin" || is_result(ty) => {
            type_arguments(segment).next().map(lasts).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// Finds the iterator or stream trait among `bounds`.
fn among(bounds: &Punctuated<TypeParamBound, Token![+]>) -> Option<(Source, Option<&Type>)> {
    bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => Some((source_of(&bound.path)?, item_of(&bound.path))),
        _ => None,
    })
}

fn source_of(path: &Path) -> Option<Source> {
    match path.segments.last()?.ident.to_string().as_str() {
        "Iterator" | "DoubleEndedIterator" | "ExactSizeIterator" | "FusedIterator" => {
            Some(Source::Iterator)
        }
        "Stream" | "FusedStream" => Some(Source::Stream),
        _ => None,
    }
}

/// Recognizes a stream in a `Result`: `Result<impl Stream<Item = T>, E>`,
/// `io::Result<impl Iterator<Item = T>>`.
fn inside_result(ty: &Type) -> Option<Stream<'_>> {
    if !is_result(ty) {
        return None;
    }
    let (source, item) = bare(type_arguments(last_segment(ty)?).next()?)?;
    let mut setup = peel(ty).clone();
    let Type::Path(path) = &mut setup else {
        return None;
    };
    let PathArguments::AngleBracketed(bracketed) = &mut path.path.segments.last_mut()?.arguments
    else {
        return None;
    };
    let stream = bracketed.args.iter_mut().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })?;
    *stream = parse_quote!(());
    Some(Stream { source, item, setup: Some(Box::new(setup)) })
}
