//! A method of a block or of a trait under the attribute.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::ParseStream;
use syn::{Attribute, Error, FnArg, Meta, Signature, Visibility};

use crate::args::Options;
use crate::mistakes::Mistakes;
use crate::model::{Function, pass_over, starts_like_a_function};

/// An item of a block or a trait.
pub(crate) enum Item {
    Method(Box<Method>),
    /// A constant, a type or a macro.
    Other(TokenStream),
}

/// A function of a block or a trait, with or without `self`.
pub(crate) struct Method {
    /// The tokens, without the attribute in `ours`.
    pub(crate) written: Function,
    /// The method's own `#[remote(..)]`.
    pub(crate) ours: Vec<Attribute>,
}

/// A method as its callers see it.
pub(crate) struct Exposed {
    /// The function of the parameters after `self`, with the type's name in place of `Self`.
    pub(crate) function: Function,
    pub(crate) options: Options,
}

impl Item {
    pub(super) fn method(&self) -> Option<&Method> {
        match self {
            Self::Method(method) => Some(method),
            Self::Other(_) => None,
        }
    }
}

/// Parses the content of the braces: inner attributes and items.
pub(super) fn between_braces(input: ParseStream<'_>) -> Result<(Vec<Attribute>, Vec<Item>), Error> {
    let inner = input.call(Attribute::parse_inner)?;
    let mut items = Vec::new();
    while !input.is_empty() {
        let ahead = input.fork();
        ahead.call(Attribute::parse_outer)?;
        ahead.parse::<Visibility>()?;
        items.push(match starts_like_a_function(&ahead) {
            true => Item::Method(Box::new(Method::new(input.parse()?))),
            false => Item::Other(pass_over(input)?),
        });
    }
    Ok((inner, items))
}

impl Method {
    fn new(mut written: Function) -> Self {
        let (ours, others) = written.attributes.into_iter().partition(is_ours);
        written.attributes = others;
        Self { written, ours }
    }

    /// The options in `#[remote(..)]`.
    pub(crate) fn options(&self, mistakes: &mut Mistakes) -> Options {
        let Some((first, others)) = self.ours.split_first() else {
            return Options::default();
        };
        for repeated in others {
            mistakes.at(repeated, "`#[remote]` is given twice: write all options in one");
        }
        match &first.meta {
            Meta::Path(_) => Options::default(),
            Meta::List(list) => Options::parse(list.tokens.clone(), mistakes),
            Meta::NameValue(_) => {
                mistakes.at(first, "options go in parentheses: write `#[remote(..)]`");
                Options::default()
            }
        }
    }

    /// Returns the method as its callers see it, or `None` if it has no `self`. Adds the attributes
    /// in `common`. Replaces `Self` by `name`, and adds the spans of the replaced tokens to
    /// `replaced`.
    pub(crate) fn exposed(
        &self,
        name: &TokenStream,
        common: &[Attribute],
        replaced: &mut Vec<Span>,
    ) -> Option<Function> {
        let tokens = call_self(self.written.signature.to_token_stream(), name, replaced);
        // A type replaces a type. If the result does not parse, the compiler reports the original.
        let replaced: Result<Signature, Error> = syn::parse2(tokens);
        let mut signature = replaced.unwrap_or_else(|_| self.written.signature.clone());
        let mut inputs = std::mem::take(&mut signature.inputs).into_iter();
        let Some(FnArg::Receiver(receiver)) = inputs.next() else {
            return None;
        };
        signature.inputs = inputs.collect();
        Some(Function {
            attributes: common.iter().chain(&self.written.attributes).cloned().collect(),
            visibility: self.written.visibility.clone(),
            signature,
            receiver: Some(receiver),
            no_body: None,
            body: None,
        })
    }

    /// Returns the method for the compiler, without the attributes of `#[remote]`.
    pub(crate) fn kept(&self) -> TokenStream {
        let Function { attributes, visibility, signature, no_body, body, .. } = &self.written;
        let kept = match self.written.without_helpers() {
            Some(kept) => kept,
            None => quote!(#(#attributes)* #visibility #signature #no_body #body),
        };
        // In a build without the feature `node`, it may be unused.
        let used = self.is_remote().then(|| quote!(#[allow(dead_code)]));
        quote!(#used #kept)
    }

    /// Whether the method is remote.
    pub(crate) fn is_remote(&self) -> bool {
        self.written.signature.receiver().is_some() && !self.is_skipped()
    }

    /// Returns whether it is `#[remote(skip)]`. Mistakes in its options are reported elsewhere.
    pub(crate) fn is_skipped(&self) -> bool {
        self.options(&mut Mistakes::default()).skip.is_some()
    }
}

/// Whether it is `#[remote]`, by any path.
fn is_ours(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|segment| segment.ident == "remote")
}

/// Returns `tokens` with `name` in place of `Self`, at the same location.
fn call_self(tokens: TokenStream, name: &TokenStream, replaced: &mut Vec<Span>) -> TokenStream {
    let mut out = TokenStream::new();
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(word) if word == "Self" => {
                replaced.push(word.span());
                let at = |mut token: TokenTree| {
                    token.set_span(token.span().located_at(word.span()));
                    token
                };
                let name: TokenStream = name.clone().into_iter().map(at).collect();
                // `Self::LENGTH`, for example as the length of an array.
                let path =
                    matches!(tokens.peek(), Some(TokenTree::Punct(it)) if it.as_char() == ':');
                out.extend(if path { quote!(<#name>) } else { name });
            }
            TokenTree::Group(group) => {
                let inside = call_self(group.stream(), name, replaced);
                let mut new = Group::new(group.delimiter(), inside);
                new.set_span(group.span());
                out.extend([TokenTree::Group(new)]);
            }
            other => out.extend([other]),
        }
    }
    out
}
