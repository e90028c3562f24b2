//! Copies the lint levels of an item to the items that are generated from it.

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Ident, Meta, Token, parse_quote};

/// Returns the attributes that set lint levels, adapted to generated items.
///
/// ```text
/// // Input:                          // Output:
/// #[allow(non_snake_case)]           #[allow(non_snake_case)]
/// #[expect(clippy::type_complexity)] #[allow(clippy::type_complexity)]
/// #[forbid(deprecated)]              #[deny(deprecated)]
/// #[cfg_attr(test, expect(unused))]  #[cfg_attr(test, allow(unused))]
/// ```
///
/// An expected lint need not occur in every generated item, and a forbidden one may occur in one.
pub(crate) fn lints(attributes: &[Attribute]) -> Vec<Attribute> {
    let levels = attributes.iter().filter_map(|attribute| level(&attribute.meta));
    levels.map(|meta| parse_quote!(#[#meta])).collect()
}

fn level(meta: &Meta) -> Option<Meta> {
    let list = meta.require_list().ok()?;
    let name = list.path.get_ident()?;
    let as_is = match name.to_string().as_str() {
        "allow" | "warn" | "deny" => name.to_string(),
        "expect" => "allow".to_owned(),
        "forbid" => "deny".to_owned(),
        "cfg_attr" => return conditional(meta),
        _ => return None,
    };
    let mut list = list.clone();
    list.path = Ident::new(&as_is, name.span()).into();
    Some(Meta::List(list))
}

/// Adapts the levels in a `cfg_attr(condition, ..)`.
fn conditional(meta: &Meta) -> Option<Meta> {
    let list = meta.require_list().ok()?;
    let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let condition = parts.first()?.to_token_stream();
    let levels: Vec<Meta> = parts.iter().skip(1).filter_map(level).collect();
    let path = &list.path;
    (!levels.is_empty()).then(|| parse_quote!(#path(#condition, #(#levels),*)))
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn levels_are_found_and_nothing_else() {
        let attributes: Vec<Attribute> = vec![
            parse_quote!(#[doc = "allow(x)"]),
            parse_quote!(#[allow(a, b::c, reason = "r")]),
            parse_quote!(#[must_use]),
            parse_quote!(#[warn(d)]),
            parse_quote!(#[deny(e)]),
            parse_quote!(#[expect(f, reason = "r")]),
            parse_quote!(#[forbid(g)]),
            parse_quote!(#[cfg_attr(all(x, y), inline, expect(h), allow(i))]),
            parse_quote!(#[cfg_attr(x, inline)]),
            parse_quote!(#[other::allow(j)]),
        ];
        let found = lints(&attributes);
        let expected = quote! {
            #[allow(a, b::c, reason = "r")]
            #[warn(d)]
            #[deny(e)]
            #[allow(f, reason = "r")]
            #[deny(g)]
            #[cfg_attr(all(x, y), allow(h), allow(i))]
        };
        assert_eq!(quote!(#(#found)*).to_string(), expected.to_string());
    }
}
