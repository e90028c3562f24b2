//! Expands the stub of a function: the type, and its implementation of `Remote`.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Attribute, Type, Visibility};

use crate::args::Options;
use crate::args::values::Skew;
use crate::model::lints::lints;
use crate::model::operator::OperatorShape;
use crate::model::owner::Owner;
use crate::model::{Function, doc_of};
use crate::parameters::{Named, Origin, Parameter};
use crate::returns::Returns;

/// The parts of the generated items.
pub(super) struct Stub<'a> {
    pub(super) function: &'a Function,
    pub(super) options: &'a Options,
    /// The function's name on the wire.
    pub(super) name: String,
    /// The stub's name.
    pub(super) ident: Ident,
    /// `::easyremote::__private`
    pub(super) private: TokenStream,
    /// The function's `#[cfg(..)]`, repeated on every generated item.
    pub(super) cfgs: Vec<&'a Attribute>,
    /// The function's lint levels, repeated on every generated item.
    pub(super) lints: Vec<Attribute>,
    pub(super) parameters: Vec<Parameter<'a>>,
    /// The parameters that are sent together.
    pub(super) arguments: Vec<Named<'a>>,
    pub(super) returns: Returns<'a>,
    /// The owner of a method.
    pub(super) owner: Option<&'a Owner>,
    /// The item and the result of an operator.
    pub(super) operator: Option<OperatorShape<'a>>,
}

/// Writes `items` for builds of the library with the feature `client`. Only the library knows its
/// features, not the user's crate.
///
/// ```text
/// ::easyremote::__private::client! { items }
/// ```
pub(super) fn for_callers(private: &TokenStream, items: &TokenStream) -> TokenStream {
    quote!(#private::client! { #items })
}

/// Writes `items` for builds of the library with the feature `node`.
///
/// ```text
/// ::easyremote::__private::node! { items }
/// ```
pub(super) fn for_nodes(private: &TokenStream, items: &TokenStream) -> TokenStream {
    quote!(#private::node! { #items })
}

impl<'a> Stub<'a> {
    pub(super) fn new(function: &'a Function, options: &'a Options) -> Self {
        let private = match &options.krate {
            Some(path) => quote!(#path::__private),
            None => quote!(::easyremote::__private),
        };
        let name = match &options.name {
            Some(literal) => literal.value(),
            None => function.name(),
        };
        let parameters: Vec<Parameter<'_>> = function.parameters().collect();
        let arguments = parameters.iter().filter(|parameter| parameter.is_argument());
        // The caller does not pass the item of an operator.
        let arguments = arguments.skip(usize::from(options.operator.is_some()));
        let operator = options
            .operator
            .as_ref()
            .and_then(|_| OperatorShape::of(&function.signature, options.plain.is_some()));
        let ident = options.stub.as_ref().unwrap_or(&function.signature.ident);
        Self {
            function,
            options,
            name,
            ident: ident.clone(),
            private,
            cfgs: function.attributes_named("cfg").collect(),
            lints: lints(&function.attributes),
            arguments: arguments.filter_map(Parameter::named).collect(),
            parameters,
            returns: Returns::of(&function.signature.output),
            owner: None,
            operator,
        }
    }

    pub(super) fn expand(&self) -> TokenStream {
        let declaration = self.declaration();
        let remote = self.remote();
        let outcome = self.outcome();
        let call = match &self.operator {
            Some(_) => self.with(),
            None => self.call(),
        };
        let call = for_callers(&self.private, &call);
        let body = match self.function.is_declaration() {
            true => self.written(),
            false => {
                let (local, entry) = (self.local(), self.entry());
                let node = for_nodes(&self.private, &quote!(#local #entry));
                [self.implements(), node].into_iter().collect()
            }
        };
        quote!(#declaration #remote #outcome #call #body)
    }

    /// ```text
    /// // Input:
    /// /// Adds two numbers.
    /// #[remote]
    /// pub fn add(a: i64, b: i64) -> i64 { a + b }
    ///
    /// // Output:
    /// /// Remote stub of [`fn@add`].
    /// ///
    /// /// Adds two numbers.
    /// pub struct add<__Signature = fn(i64, i64) -> i64> { signature: PhantomData<fn() -> __Signature> }
    /// ```
    pub(super) fn declaration(&self) -> TokenStream {
        let Self { cfgs, lints, .. } = self;
        let body = self.struct_body();
        let (visibility, ident) = (generated(&self.function.visibility), generated(&self.ident));
        let hidden = self.function.attributes_named("doc").filter(|doc| is_hidden(doc));
        let function = self.function.name();
        let mut doc = vec![match self.function.is_declaration() {
            true => format!(" The remote function `{function}`; its implementation is elsewhere."),
            false => format!(" Remote stub of [`fn@{function}`]."),
        }];
        for line in summary(&self.function.doc()).lines() {
            if doc.len() == 1 {
                doc.push(String::new());
            }
            doc.push(format!(" {line}"));
        }
        quote! {
            #(#cfgs)*
            #(#[doc = #doc])*
            #(#hidden)*
            #(#lints)*
            #[allow(non_camel_case_types, dead_code, private_interfaces, deprecated)]
            #visibility struct #ident #body
        }
    }

    /// Writes what follows the name of the stub. The function's signature is part of the stub's
    /// type, so the trait implementations of a public stub may name private types. The compiler
    /// warns about private types at the function itself.
    ///
    /// ```text
    /// // Input:                                     // Output:
    /// fn add(a: i64, b: i64) -> i64                 {}
    /// pub fn add(a: i64, b: i64) -> i64             <__Signature = fn(i64, i64) -> i64> { signature: PhantomData<fn() -> __Signature> }
    /// impl Model { pub fn embed(&self, text: String) } <__Signature = fn(Model, String)> { signature: PhantomData<fn() -> __Signature> }
    /// ```
    pub(super) fn struct_body(&self) -> TokenStream {
        let receiver = self.owner.and_then(Owner::ty);
        if receiver.is_none() && matches!(self.function.visibility, Visibility::Inherited) {
            return quote!({});
        }
        let arguments = self.arguments.iter().map(|argument| argument.ty);
        let item = self.operator.as_ref().map(|operator| operator.item);
        let inputs = receiver.into_iter().chain(item).chain(arguments).chain(self.upload());
        let outputs: Vec<TokenStream> = match &self.returns {
            Returns::Nothing => Vec::new(),
            Returns::Value(ty) => vec![ty.to_token_stream()],
            Returns::Stream(stream) => {
                let setup = stream.setup.as_ref().map(ToTokens::to_token_stream);
                setup.into_iter().chain(stream.item.map(ToTokens::to_token_stream)).collect()
            }
        };
        // A name that no user's type is likely to have.
        let name = Ident::new("__Signature", Span::call_site());
        let returned = match &outputs[..] {
            [] => None,
            [output] => Some(quote!(-> #output)),
            outputs => Some(quote!(-> (#(#outputs),*))),
        };
        let types = quote!(fn(#(#inputs),*) #returned);
        quote!(<#name = #types> { signature: ::core::marker::PhantomData<fn() -> #name> })
    }

    /// ```text
    /// // Input:
    /// /// Adds two numbers.
    /// #[remote(timeout = "30s", idempotent)]
    /// fn add(a: i64, b: i64) -> i64 { a + b }
    ///
    /// // Output:
    /// impl Remote for add {
    ///     const DESCRIPTOR: Descriptor = Descriptor::new("add", Kind::Unary, file!(), line!())
    ///         .parameters(&["a", "b"])
    ///         .doc("Adds two numbers.")
    ///         .timeout_ms(30000)
    ///         .idempotent();
    ///     type Arguments = (i64, i64,);
    ///     type Upload = Never;
    ///     fn signature() -> &'static Signature {
    ///         static CELL: SignatureCell = SignatureCell::new();
    ///         CELL.get(trace_unary::<Self>)
    ///     }
    /// }
    /// impl Idempotent for add {}
    /// ```
    pub(super) fn remote(&self) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let (descriptor, signature) = match &self.options.implements {
            Some(declaration) => self.declared(declaration),
            None => (self.descriptor(), self.signature()),
        };
        let types = self.argument_types();
        let upload = self.upload_type();
        let idempotent = self.options.idempotent.as_ref().map(|_| {
            quote! {
                #(#cfgs)*
                #(#lints)*
                #[allow(deprecated)]
                impl #private::Idempotent for #ident {}
            }
        });
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(deprecated)]
            impl #private::Remote for #ident {
                const DESCRIPTOR: #private::Descriptor = #descriptor;

                type Arguments = #types;
                type Upload = #upload;

                fn signature() -> &'static #private::Signature { #signature }
            }
            #idempotent
        }
    }

    pub(super) fn descriptor(&self) -> TokenStream {
        let Self { private, name, .. } = self;
        let kind = match (&self.returns, self.upload()) {
            (Returns::Stream(_), None) => quote!(Stream),
            (Returns::Stream(_), Some(_)) => quote!(Duplex),
            (_, None) => quote!(Unary),
            (_, Some(_)) => quote!(Upload),
        };
        let kind = if self.operator.is_some() { quote!(Operator) } else { kind };
        let parameters = self.arguments.iter().map(|it| it.ident.unraw().to_string());
        let doc = some_text(self.function.doc()).map(|doc| quote!(.doc(#doc)));
        let arguments = self.parameters.iter().filter(|it| it.is_argument() && it.ident.is_some());
        let arguments = arguments.skip(usize::from(self.operator.is_some()));
        let docs: Vec<_> = arguments.map(|it| doc_of(it.attributes)).collect();
        let parameter_docs = docs.iter().any(|doc| !doc.is_empty());
        let parameter_docs = parameter_docs.then(|| quote!(.parameter_docs(&[#(#docs),*])));
        let timeout = self.options.timeout_ms.map(|timeout| {
            let timeout = Literal::u64_unsuffixed(timeout);
            quote!(.timeout_ms(#timeout))
        });
        let idempotent = self.options.idempotent.as_ref().map(|_| quote!(.idempotent()));
        let detached = self.options.detached.as_ref().map(|_| quote!(.detached()));
        let resumes = self.resumes();
        let resumable = self.options.resumable.as_ref().map(|_| quote!(.resumable()));
        let tool = self.options.tool.as_ref().map(|_| quote!(.tool()));
        let skew = self.options.skew.map(|skew| match skew {
            Skew::ByName => quote!(.by_name()),
            Skew::Lossy => quote!(.lossy()),
        });
        let method_of = self.owner.map(|Owner { name, .. }| quote!(.method_of(#name)));
        quote! {
            #private::Descriptor::new(
                #name,
                #private::Kind::#kind,
                ::core::file!(),
                ::core::line!(),
            )
            #method_of
            .parameters(&[#(#parameters),*])
            #parameter_docs
            #doc
            #timeout
            #idempotent
            #detached
            #resumes
            #resumable
            #tool
            #skew
        }
    }

    pub(super) fn signature(&self) -> TokenStream {
        let private = &self.private;
        let trace = match self.returns {
            _ if self.operator.is_some() => quote!(trace_operator),
            Returns::Stream(_) => quote!(trace_stream),
            Returns::Nothing | Returns::Value(_) => quote!(trace_unary),
        };
        quote! {
            static CELL: #private::SignatureCell = #private::SignatureCell::new();
            CELL.get(#private::#trace::<Self>)
        }
    }

    pub(super) fn upload_type(&self) -> TokenStream {
        let private = &self.private;
        self.upload().map_or_else(|| quote!(#private::Never), ToTokens::to_token_stream)
    }

    /// Returns the item type of the client stream, if the function takes one.
    pub(super) fn upload(&self) -> Option<&'a Type> {
        self.parameters.iter().find_map(|parameter| match parameter.origin {
            Origin::Upload(item) => item,
            _ => None,
        })
    }

    /// Writes the tuple of the argument types with the span of the arguments: there the compiler
    /// reports an argument that cannot cross the network.
    pub(super) fn argument_types(&self) -> TokenTree {
        let types = self.arguments.iter().map(|argument| argument.ty);
        let mut tuple = Group::new(Delimiter::Parenthesis, quote!(#(#types,)*));
        tuple.set_span(self.function.signature.paren_token.span.join());
        tuple.into()
    }
}

/// Returns `tokens` with the hygiene of the attribute and the location of the original. The
/// compiler then treats an item that begins with them as generated, also inside `macro_rules!`, and
/// does not ask for `Debug` on it.
pub(super) fn generated(tokens: impl ToTokens) -> TokenStream {
    let ours = tokens.into_token_stream().into_iter().map(|mut token| {
        if let TokenTree::Group(group) = &token {
            let mut inside = Group::new(group.delimiter(), generated(group.stream()));
            inside.set_span(group.span());
            token = inside.into();
        }
        token.set_span(token.span().resolved_at(Span::call_site()));
        token
    });
    ours.collect()
}

/// Returns the first paragraph of a doc comment.
fn summary(doc: &str) -> &str {
    doc.split("\n\n").next().unwrap_or_default()
}

fn some_text(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Whether `doc` is `#[doc(hidden)]`.
pub(super) fn is_hidden(doc: &Attribute) -> bool {
    doc.meta.require_list().is_ok_and(|list| list.tokens.to_string() == "hidden")
}
