//! The function under the attribute, as it is written.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{
    Attribute, Error, Expr, ExprLit, FnArg, Ident, Lit, Meta, PatType, Receiver, Signature, Token,
    Visibility,
};

use crate::parameters::{Parameter, is_taken_out};

pub(crate) mod batch;
pub(crate) mod block;
pub(crate) mod lints;
pub(crate) mod method;
pub(crate) mod operator;
pub(crate) mod owner;
pub(crate) mod service;

/// A function; its body stays tokens.
pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    /// The `&self` of a method, which is then removed from the inputs of the signature.
    pub(crate) receiver: Option<Receiver>,
    /// The semicolon of a function without a body.
    pub(crate) no_body: Option<Token![;]>,
    /// Kept as it is.
    pub(crate) body: Option<TokenTree>,
}

/// The kind of item under the attribute, by its first tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    Function,
    Block,
    Trait,
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
        Ok(Self { attributes, visibility, signature, receiver: None, no_body, body })
    }
}

impl Function {
    /// Returns the function's name without `r#`: `type` for `r#type`.
    pub(crate) fn name(&self) -> String {
        self.signature.ident.unraw().to_string()
    }

    /// Whether it is a declaration: it has no body.
    pub(crate) fn is_declaration(&self) -> bool {
        self.no_body.is_some()
    }

    /// Returns the parameters without `self`.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        Parameter::all(&self.signature)
    }

    /// Returns the function without `#[state]`, `#[ctx]` and the doc comments of parameters, or `None`
    /// if it has none of them.
    ///
    /// ```text
    /// // Input:
    /// async fn embed(#[state] model: &Model, text: String) -> Vec<f32> { .. }
    ///
    /// // Output:
    /// async fn embed(model: &Model, text: String) -> Vec<f32> { .. }
    /// ```
    pub(crate) fn without_helpers(&self) -> Option<TokenStream> {
        let Self { attributes, visibility, signature, no_body, body, .. } = self;
        if !signature.inputs.iter().any(|input| attributes_of(input).iter().any(is_taken_out)) {
            return None;
        }
        let mut signature = signature.clone();
        for input in &mut signature.inputs {
            let (FnArg::Typed(PatType { attrs, .. }) | FnArg::Receiver(Receiver { attrs, .. })) =
                input;
            attrs.retain(|attribute| !is_taken_out(attribute));
        }
        Some(quote!(#(#attributes)* #visibility #signature #no_body #body))
    }

    /// Returns the lines of the doc comment, without the space after `///`.
    pub(crate) fn doc(&self) -> String {
        doc_of(&self.attributes)
    }

    /// Returns the attributes called `name`.
    pub(crate) fn attributes_named(&self, name: &str) -> impl Iterator<Item = &Attribute> {
        self.attributes.iter().filter(move |attribute| attribute.path().is_ident(name))
    }
}

/// Returns the lines of a doc comment, without the space after `///`.
pub(crate) fn doc_of(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for text in attributes.iter().filter_map(doc_text) {
        lines.extend(text.split('\n').map(|line| {
            let line = line.strip_prefix(' ').unwrap_or(line);
            line.trim_end().to_owned()
        }));
    }
    lines.join("\n").trim_matches('\n').to_owned()
}

fn attributes_of(input: &FnArg) -> &[Attribute] {
    let (FnArg::Typed(PatType { attrs, .. }) | FnArg::Receiver(Receiver { attrs, .. })) = input;
    attrs
}

/// Returns the text of `#[doc = ".."]`. A text from a macro such as `include_str!` is unknown here.
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

/// Skips the body: braces, or a `$body:block` of a `macro_rules!`, which has invisible braces.
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
    let what = "`#[remote]` goes on a function, on an `impl` block or on a trait";
    if input.is_empty() {
        return Error::new(proc_macro2::Span::call_site(), what);
    }
    Error::new(input.span(), what)
}

/// Determines the kind of item under the attribute from its first tokens.
pub(crate) fn under(item: &TokenStream) -> Under {
    let begins = |input: ParseStream<'_>| {
        input.call(Attribute::parse_outer)?;
        input.parse::<Visibility>()?;
        let mut found = Under::Function;
        while let Ok(word) = input.call(Ident::parse_any) {
            match word.to_string().as_str() {
                "unsafe" | "default" | "auto" | "const" => continue,
                "impl" => found = Under::Block,
                "trait" => found = Under::Trait,
                _ => {}
            }
            break;
        }
        input.parse::<TokenStream>()?;
        Ok(found)
    };
    begins.parse2(item.clone()).unwrap_or(Under::Function)
}

/// Splits an item with a body in braces into the tokens before the braces, and the braces.
fn split_body(item: TokenStream) -> Result<(TokenStream, Group), Error> {
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    if let [TokenTree::Group(whole)] = &tokens[..]
        && whole.delimiter() == Delimiter::None
    {
        return split_body(whole.stream());
    }
    match tokens.pop() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
            let mut header: TokenStream = tokens.into_iter().collect();
            let mut empty = Group::new(Delimiter::Brace, TokenStream::new());
            empty.set_span(body.span());
            header.extend([TokenTree::Group(empty)]);
            Ok((header, body))
        }
        last => {
            let span = last.map_or_else(proc_macro2::Span::call_site, |token| token.span());
            Err(Error::new(span, "expected the methods, in braces"))
        }
    }
}

/// Passes over an item of a block or a trait that is not a function: up to a semicolon or braces.
fn pass_over(input: ParseStream<'_>) -> Result<TokenStream, Error> {
    let mut passed = TokenStream::new();
    while !input.is_empty() {
        let token: TokenTree = input.parse()?;
        let last = match &token {
            TokenTree::Punct(punct) => punct.as_char() == ';',
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            _ => false,
        };
        passed.extend([token]);
        if last {
            break;
        }
    }
    Ok(passed)
}

/// Reads the item under the attribute.
pub(crate) fn parse(item: TokenStream) -> Result<Function, Error> {
    syn::parse2(item)
}
