//! Helpers that inspect the syntax of a type.

use quote::ToTokens;
use syn::{GenericArgument, Lifetime, Path, PathArguments, PathSegment, Type};

/// Returns `ty` without parentheses, and without the invisible groups of `macro_rules!`.
pub(crate) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

/// Returns the last segment of a path: `Vec<u8>` of `std::vec::Vec<u8>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peel(ty) {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    }
}

/// Whether the type's name ends with `Result`: `Result<T, E>`, `io::Result<T>`.
pub(crate) fn is_result(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident.to_string().ends_with("Result"))
}

/// Whether the type is called `Context`, like the context of a call.
pub(crate) fn is_context(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|it| it.ident == "Context" && it.arguments.is_none())
}

/// Returns the types between a segment's angle brackets.
pub(crate) fn type_arguments(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    generic_arguments(segment).filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// Returns the lifetimes between a segment's angle brackets.
pub(crate) fn lifetime_arguments(segment: &PathSegment) -> impl Iterator<Item = &Lifetime> {
    generic_arguments(segment).filter_map(|argument| match argument {
        GenericArgument::Lifetime(lifetime) => Some(lifetime),
        _ => None,
    })
}

fn generic_arguments(segment: &PathSegment) -> impl Iterator<Item = &GenericArgument> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(bracketed) => Some(&bracketed.args),
        _ => None,
    };
    arguments.into_iter().flatten()
}

/// Returns the `T` of `Iterator<Item = T>`.
pub(crate) fn item_of(bound: &Path) -> Option<&Type> {
    let Some(PathArguments::AngleBracketed(bracketed)) =
        bound.segments.last().map(|s| &s.arguments)
    else {
        return None;
    };
    bracketed.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}

/// Returns the owned type for a reference to `referent`: `String` for `&str`.
pub(crate) fn owned(referent: &Type) -> String {
    let referent = peel(referent);
    if let Type::Slice(slice) = referent {
        return format!("Vec<{}>", spell(&slice.elem));
    }
    let name = last_segment(referent).map(|segment| segment.ident.to_string());
    match name.as_deref() {
        Some("str") => "String".to_owned(),
        Some("Path") => "PathBuf".to_owned(),
        Some("OsStr") => "OsString".to_owned(),
        Some("CStr") => "CString".to_owned(),
        _ => spell(referent),
    }
}

/// Returns the source text of `tokens` with the usual spaces.
pub(crate) fn spell(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string();
    for (from, to) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" ::", "::"),
        (" <", "<"),
        ("< ", "<"),
        (" >", ">"),
        ("> ,", ">,"),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
        ("* ", "*"),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
    ] {
        text = text.replace(from, to);
    }
    text
}
