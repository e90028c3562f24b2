//! What is written in the tokens of macros, which nothing parses.

use proc_macro2::{Delimiter, Span, TokenStream, TokenTree};
use syn::{Expr, Lit, LitStr};

/// A path in tokens.
pub(crate) struct TokenPath {
    pub(crate) path: Vec<String>,
    pub(crate) span: Span,
}

/// A function in tokens.
pub(crate) struct TokenFunction {
    pub(crate) name: String,
    /// Of its `fn`.
    pub(crate) span: Span,
    pub(crate) last_line: usize,
}

/// The paths in `tokens`, those in groups included. `$crate` is `crate`; what is `::` in front is an
/// empty segment.
pub(crate) fn paths(tokens: &TokenStream) -> Vec<TokenPath> {
    let mut found = Vec::new();
    add_paths(&[], &trees(tokens), &mut found);
    found
}

fn trees(tokens: &TokenStream) -> Vec<TokenTree> {
    tokens.clone().into_iter().collect()
}

fn is_punct(tree: Option<&TokenTree>, expected: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}

fn is_path_separator(trees: &[TokenTree], at: usize) -> bool {
    is_punct(trees.get(at), ':') && is_punct(trees.get(at + 1), ':')
}

fn add_paths(prefix: &[String], trees: &[TokenTree], found: &mut Vec<TokenPath>) {
    let mut at = 0;
    while at < trees.len() {
        match &trees[at] {
            TokenTree::Group(group) => add_paths(prefix, &self::trees(&group.stream()), found),
            TokenTree::Ident(_) => {
                at = add_path(prefix, trees, at, found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Adds the path that starts at `at`, and returns where it ends.
fn add_path(
    prefix: &[String],
    trees: &[TokenTree],
    mut at: usize,
    found: &mut Vec<TokenPath>,
) -> usize {
    let before = |n: usize| at.checked_sub(n).and_then(|at| trees.get(at));
    let span = trees[at].span();
    let mut path = prefix.to_vec();
    let of_variable = is_punct(before(1), '$') && trees[at].to_string() != "crate";
    // `.name` is of a value, `'name` a lifetime, `Vec::<T>::name` of a type.
    let mut of_other = is_punct(before(1), '.') || is_punct(before(1), '\'');
    if prefix.is_empty() && is_punct(before(1), ':') && is_punct(before(2), ':') {
        of_other |= is_punct(before(3), '>');
        path.push(String::new());
    }
    path.push(trees[at].to_string());
    at += 1;
    while is_path_separator(trees, at) {
        match trees.get(at + 2) {
            Some(TokenTree::Ident(ident)) => path.push(ident.to_string()),
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                add_paths(&path, &self::trees(&group.stream()), found);
                return at + 3;
            }
            _ => break,
        }
        at += 3;
    }
    if !of_variable && !of_other {
        found.push(TokenPath { path, span });
    }
    at
}

/// An item that tokens define.
pub(crate) struct TokenItem {
    pub(crate) keyword: String,
    pub(crate) name: String,
    pub(crate) span: Span,
    /// In a group, such as the body of a function or an arm of `macro_rules!`.
    pub(crate) nested: bool,
}

/// The names that follow the keyword of an item.
pub(crate) fn items(tokens: &TokenStream) -> Vec<TokenItem> {
    const KEYWORDS: &[&str] =
        &["struct", "enum", "union", "trait", "type", "fn", "const", "static"];
    let trees = trees(tokens);
    let mut found = Vec::new();
    for pair in trees.windows(2) {
        let [TokenTree::Ident(keyword), TokenTree::Ident(name)] = pair else { continue };
        let (keyword, span) = (keyword.to_string(), name.span());
        if KEYWORDS.contains(&keyword.as_str()) {
            found.push(TokenItem { keyword, name: name.to_string(), span, nested: false });
        }
    }
    for tree in trees {
        if let TokenTree::Group(group) = tree {
            let inner = items(&group.stream()).into_iter();
            found.extend(inner.map(|item| TokenItem { nested: true, ..item }));
        }
    }
    found
}

/// The functions with a body.
pub(crate) fn functions(tokens: &TokenStream) -> Vec<TokenFunction> {
    let trees = trees(tokens);
    let mut found = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => found.extend(functions(&group.stream())),
            TokenTree::Ident(keyword) if keyword == "fn" => {
                found.extend(function(&trees[at..]));
            }
            _ => {}
        }
    }
    found
}

fn function(trees: &[TokenTree]) -> Option<TokenFunction> {
    let at = if is_punct(trees.get(1), '$') { 2 } else { 1 };
    let Some(TokenTree::Ident(name)) = trees.get(at) else { return None };
    let body = trees.iter().find_map(|tree| match tree {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
        TokenTree::Punct(punct) if punct.as_char() == ';' => Some(None),
        _ => None,
    })??;
    Some(TokenFunction {
        name: name.to_string(),
        span: trees[0].span(),
        last_line: body.span_close().end().line,
    })
}

/// The identifiers that a `!` follows.
pub(crate) fn macros(tokens: &TokenStream) -> Vec<(String, Span)> {
    let trees = trees(tokens);
    let mut found = Vec::new();
    for (at, tree) in trees.iter().enumerate() {
        match tree {
            TokenTree::Group(group) => found.extend(macros(&group.stream())),
            TokenTree::Ident(ident)
                if is_punct(trees.get(at + 1), '!')
                    && matches!(trees.get(at + 2), Some(TokenTree::Group(_))) =>
            {
                found.push((ident.to_string(), ident.span()));
            }
            _ => {}
        }
    }
    found
}

/// The identifiers, those in groups included.
pub(crate) fn identifiers(tokens: &TokenStream) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    for tree in tokens.clone() {
        match tree {
            TokenTree::Group(group) => found.extend(identifiers(&group.stream())),
            TokenTree::Ident(ident) => found.push((ident.to_string(), ident.span())),
            _ => {}
        }
    }
    found
}

/// The paths that are written as string literals, as attributes have them.
pub(crate) fn quoted_paths(tokens: &TokenStream) -> Vec<TokenPath> {
    let mut found = Vec::new();
    for tree in tokens.clone() {
        match tree {
            TokenTree::Group(group) => found.extend(quoted_paths(&group.stream())),
            TokenTree::Literal(literal) => {
                let text = syn::parse_str::<LitStr>(&literal.to_string()).ok();
                let path = text.and_then(|text| text.parse::<syn::Path>().ok());
                if let Some(path) = path {
                    let path = path.segments.iter().map(|segment| segment.ident.to_string());
                    found.push(TokenPath { path: path.collect(), span: literal.span() });
                }
            }
            _ => {}
        }
    }
    found
}

/// The value of a string literal.
pub(crate) fn string(expression: &Expr) -> Option<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
