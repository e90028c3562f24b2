//! The function under the attribute, as it is written.

use proc_macro2::{TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, Lit, Meta, Pat, PatType, Receiver, Signature,
    Token, Visibility,
};

use crate::parameters::{Parameter, helpers, is_helper};

/// A function; its body is not looked into.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// Where the body would be, the semicolon of a function that has none.
    pub(crate) no_body: Option<Token![;]>,
    /// Kept as it is.
    body: Option<TokenTree>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self, Error> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !starts_like_a_function(input) {
            return Err(not_a_function(input));
        }
        let signature = input.parse()?;
        let no_body: Option<Token![;]> = input.parse()?;
        let body = match no_body {
            Some(_) => None,
            None => Some(body(input)?),
        };
        Ok(Self { attributes, visibility, signature, no_body, body })
    }
}

impl Function {
    /// The function's name as others see it: `type` for `r#type`.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// Whether it only says what callers see.
    pub(crate) fn is_declaration(&self) -> bool {
        self.no_body.is_some()
    }

    /// The parameters, `self` excepted.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        Parameter::all(&self.signature)
    }

    /// The function without `#[state]` and `#[ctx]`, or `None` if it has neither.
    ///
    /// ```text
    /// // Input:
    /// async fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
    ///
    /// // Output:
    /// async fn embed(model: &Model, text: String) -> Vec<f32> { .. }
    /// ```
    pub(crate) fn without_helpers(&self) -> Option<TokenStream> {
        let Self { attributes, visibility, signature, no_body, body } = self;
        if signature.inputs.iter().all(|input| helpers(attributes_of(input)).next().is_none()) {
            return None;
        }
        let mut signature = signature.clone();
        for input in &mut signature.inputs {
            let (FnArg::Typed(PatType { attrs, .. }) | FnArg::Receiver(Receiver { attrs, .. })) =
                input;
            attrs.retain(|attribute| !is_helper(attribute));
        }
        Some(quote!(#(#attributes)* #visibility #signature #no_body #body))
    }

    /// The lines of the doc comment, without the space that follows `///`.
    pub(crate) fn doc(&self) -> String {
        let mut lines = Vec::new();
        for text in self.attributes.iter().filter_map(doc_text) {
            lines.extend(text.split('\n').map(|line| {
                let line = line.strip_prefix(' ').unwrap_or(line);
                line.trim_end().to_owned()
            }));
        }
        lines.join("\n").trim_matches('\n').to_owned()
    }

    /// The attributes called `name`.
    pub(crate) fn attributes_named(&self, name: &str) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(move |attribute| attribute.path().is_ident(name))
    }
}

/// `a` of `a` and of `mut a`.
pub(crate) fn name_of(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(name) if name.by_ref.is_none() && name.subpat.is_none() => Some(&name.ident),
        Pat::Paren(paren) => name_of(&paren.pat),
        _ => None,
    }
}

fn attributes_of(input: &FnArg) -> &[Attribute] {
    let (FnArg::Typed(PatType { attrs, .. }) | FnArg::Receiver(Receiver { attrs, .. })) = input;
    attrs
}

/// The text of `#[doc = ".."]`; one that comes from a macro such as `include_str!` is not known here.
fn doc_text(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    if !pair.path.is_ident("doc") {
        return None;
    }
    let mut value = &pair.value;
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Passes over the body: braces, or a `$body:block` of a `macro_rules!`, which has invisible ones.
fn body(input: ParseStream<'_>) -> Result<TokenTree, Error> {
    match input.parse()? {
        group @ TokenTree::Group(_) => Ok(group),
        other => Err(Error::new(other.span(), "expected the body of the function")),
    }
}

fn starts_like_a_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    while !ahead.is_empty() && !ahead.peek(Token![fn]) {
        let qualifier = ahead.peek(Token![const])
            || ahead.peek(Token![async])
            || ahead.peek(Token![unsafe])
            || ahead.peek(Token![extern])
            || ahead.peek(syn::LitStr);
        if !qualifier || ahead.parse::<TokenTree>().is_err() {
            return false;
        }
    }
    ahead.peek(Token![fn])
}

fn not_a_function(input: ParseStream<'_>) -> Error {
    let ahead = input.fork();
    // Parsing `unsafe` cannot fail: it is optional.
    let _ = ahead.parse::<Option<Token![unsafe]>>();
    let what = if ahead.peek(Token![impl]) {
        "`impl` blocks are not supported yet: put `#[remote]` on a free function"
    } else if ahead.peek(Token![trait]) {
        "traits are not supported yet: put `#[remote]` on a free function"
    } else {
        "`#[remote]` goes on a function: `fn` or `async fn`"
    };
    if ahead.is_empty() {
        return Error::new(proc_macro2::Span::call_site(), what);
    }
    Error::new(ahead.span(), what)
}

/// Reads the item under the attribute.
pub(crate) fn parse(item: TokenStream) -> Result<Function, Error> {
    syn::parse2(item)
}
