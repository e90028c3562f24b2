//! How the type `Secret` keeps secrets.

use std::collections::BTreeSet;

use proc_macro2::Ident;
use syn::visit::{self, Visit};
use syn::{File, ImplItem, Item, ItemImpl, ItemStruct, Path, Token, Type};

/// What the traits of a secret may be: no trait that shows it, none that compares it otherwise.
const TRAITS: &[&str] = &["Clone", "Debug", "Eq", "PartialEq"];

/// Returns what is wrong with the type `Secret` of a file, or nothing if there is no such type.
pub(crate) fn violations(file: &File) -> Option<Vec<String>> {
    let secret = file.items.iter().find_map(|item| match item {
        Item::Struct(item) if item.ident == "Secret" => Some(item),
        _ => None,
    })?;
    let mut found = Vec::new();
    let derived = derived(secret);
    let mut traits = derived.clone();
    for item in impls(file) {
        let Some((path, _)) = &item.trait_ else { continue };
        let name = last(path);
        if name == "Debug" && names(item).contains("self") {
            found.push("`Debug` shows what is in it".to_owned());
        }
        if name == "PartialEq" && !names(item).contains("ct_eq") {
            found.push("it is compared, but not with `ct_eq`".to_owned());
        }
        traits.push(name);
    }
    let unknown = traits.iter().filter(|name| !TRAITS.contains(&name.as_str()));
    found.extend(unknown.map(|name| format!("it implements `{name}`")));
    let shown = derived.iter().filter(|name| ["Debug", "PartialEq"].contains(&name.as_str()));
    found.extend(shown.map(|name| format!("it derives `{name}`")));
    if !secret.fields.iter().all(|field| matches!(field.vis, syn::Visibility::Inherited)) {
        found.push("its bytes are not private".to_owned());
    }
    let mut verifies = Verifies(false);
    verifies.visit_file(file);
    if !verifies.0 {
        found.push("no proof is checked with `hmac::verify`".to_owned());
    }
    Some(found)
}

fn impls(file: &File) -> impl Iterator<Item = &ItemImpl> {
    file.items.iter().filter_map(|item| match item {
        Item::Impl(item) => match &*item.self_ty {
            Type::Path(of) if of.path.is_ident("Secret") => Some(item),
            _ => None,
        },
        _ => None,
    })
}

fn derived(secret: &ItemStruct) -> Vec<String> {
    let mut found = Vec::new();
    for attr in secret.attrs.iter().filter(|attr| attr.path().is_ident("derive")) {
        let list = syn::punctuated::Punctuated::<Path, Token![,]>::parse_terminated;
        found.extend(attr.parse_args_with(list).iter().flatten().map(last));
    }
    found
}

fn last(path: &Path) -> String {
    path.segments.last().expect("no path is empty").ident.to_string()
}

/// The names in the bodies of an `impl`.
fn names(item: &ItemImpl) -> BTreeSet<String> {
    let mut names = Names(BTreeSet::new());
    for item in &item.items {
        if let ImplItem::Fn(function) = item {
            names.visit_block(&function.block);
        }
    }
    names.0
}

struct Names(BTreeSet<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.0.insert(ident.to_string());
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        let names = crate::tokens::identifiers(&item.tokens).into_iter();
        self.0.extend(names.map(|(name, _)| name));
    }
}

struct Verifies(bool);

impl<'ast> Visit<'ast> for Verifies {
    fn visit_path(&mut self, path: &'ast Path) {
        let names: Vec<_> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.0 |= names.ends_with(&["hmac".to_owned(), "verify".to_owned()]);
        visit::visit_path(self, path);
    }
}
