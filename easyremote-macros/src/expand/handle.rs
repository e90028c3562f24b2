//! Expands the handle that callers have in place of a value.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::Visibility;

use crate::expand::stub::Stub;
use crate::model::owner::{Kind, Owner};
use crate::parameters::Parameter;
use crate::returns::Returns;

/// The parts of the handle.
pub(super) struct Handle<'a> {
    pub(super) owner: &'a Owner,
    pub(super) stubs: &'a [Stub<'a>],
    pub(super) private: &'a TokenStream,
}

impl Handle<'_> {
    /// ```text
    /// // Input:
    /// #[remote]
    /// impl Model { .. }
    ///
    /// // Output:
    /// #[derive(Clone, Debug)]
    /// pub struct ModelClient { instance: Instance }
    /// impl ModelClient {
    ///     pub fn new(client: &Client) -> Self { Self { instance: Instance::new(client) } }
    ///     pub fn instance(&self, name: &str) -> Self { Self { instance: Instance::named(&self.instance, name) } }
    ///     pub fn embed(&self, text: String) -> Call<Model_embed> { Instance::call(&self.instance, (text,)) }
    /// }
    /// ```
    pub(super) fn expand(&self) -> TokenStream {
        let Self { owner, private, stubs } = self;
        let Owner { cfgs, lints, handle, .. } = owner;
        let visibility = self.visibility();
        let name = owner.text();
        let doc = match owner.kind {
            Kind::Type(_) => format!(" Calls the remote methods of the `{name}` that nodes keep."),
            Kind::Trait(_) => format!(" Calls the methods of the `{name}` that nodes keep."),
        };
        let methods = stubs.iter().map(Stub::handle_method);
        quote! {
            #(#cfgs)*
            #[doc = #doc]
            ///
            /// Cheap to clone. It has the options of the client that it was created with.
            #(#lints)*
            #[allow(dead_code)]
            #[derive(::core::clone::Clone, ::core::fmt::Debug)]
            #visibility struct #handle {
                instance: #private::Instance,
            }

            #(#cfgs)*
            #(#lints)*
            impl #handle {
                /// Creates a handle to the nodes' state of this type.
                #[allow(dead_code)]
                #[must_use]
                #visibility fn new(client: &#private::Client) -> Self {
                    Self { instance: #private::Instance::new(client) }
                }

                /// Creates a handle to the nodes' instance of this name.
                ///
                /// With an invalid name, each call fails.
                #[allow(dead_code)]
                #[must_use]
                #visibility fn instance(&self, name: &::core::primitive::str) -> Self {
                    Self { instance: #private::Instance::named(&self.instance, name) }
                }

                #(#methods)*
            }
        }
    }

    /// Returns the visibility of the trait, or the widest one of the type's remote methods.
    pub(super) fn visibility(&self) -> &Visibility {
        match &self.owner.kind {
            Kind::Trait(visibility) => visibility,
            Kind::Type(_) => {
                let all = self.stubs.iter().map(|stub| &stub.function.visibility);
                all.max_by_key(|visibility| width(visibility)).unwrap_or(&Visibility::Inherited)
            }
        }
    }
}

/// Returns the reach of a visibility: of two in one module, the greater value includes the smaller.
fn width(visibility: &Visibility) -> usize {
    match visibility {
        Visibility::Public(_) => usize::MAX,
        Visibility::Inherited => 0,
        Visibility::Restricted(restricted) => {
            let segments = &restricted.path.segments;
            match segments.first() {
                Some(first) if first.ident == "crate" && segments.len() == 1 => usize::MAX - 1,
                // A longer path from the root includes fewer modules.
                Some(first) if first.ident == "crate" => usize::MAX - 1 - segments.len(),
                Some(first) if first.ident == "self" => segments.len() - 1,
                _ => segments.len(),
            }
        }
    }
}

impl Stub<'_> {
    /// ```text
    /// // Input:
    /// /// Translates.
    /// #[remote(stream)]
    /// pub fn translate(&self, audio: impl Stream<Item = Chunk>, to: Language) -> impl Stream<Item = Text> { .. }
    ///
    /// // Output:
    /// /// Translates.
    /// pub fn translate(&self, audio: impl Stream<Item = Chunk> + Send + 'static, to: Language) -> StreamCall<Model_translate> {
    ///     Instance::stream_call_with(&self.instance, (to,), audio)
    /// }
    /// ```
    fn handle_method(&self) -> TokenStream {
        let Self { ident, private, cfgs, lints, .. } = self;
        let visibility = &self.function.visibility;
        let name = &self.function.signature.ident;
        let docs: Vec<_> = self.function.attributes_named("doc").collect();
        let doc = docs.is_empty().then(|| format!(" Calls `{}` on a node.", self.name)).into_iter();
        let deprecated = self.function.attributes_named("deprecated");
        let parameters = self.parameters.iter().filter_map(|it| self.call_parameter(it));
        let names = self.arguments.iter().map(|it| it.ident);
        let upload: Vec<&Ident> = self
            .parameters
            .iter()
            .filter(|it| it.is_upload())
            .filter_map(Parameter::named)
            .map(|it| it.ident)
            .collect();
        let (returned, make) = match (&self.returns, upload.is_empty()) {
            (Returns::Stream(_), true) => (quote!(StreamCall), quote!(stream_call)),
            (Returns::Stream(_), false) => (quote!(StreamCall), quote!(stream_call_with)),
            (_, true) => (quote!(Call), quote!(call)),
            (_, false) => (quote!(Call), quote!(call_with)),
        };
        quote! {
            #(#cfgs)*
            #(#[doc = #doc])*
            #(#docs)*
            #(#deprecated)*
            #(#lints)*
            #[allow(dead_code, deprecated, private_interfaces, clippy::too_many_arguments)]
            #visibility fn #name(&self, #(#parameters),*) -> #private::#returned<#ident> {
                #private::Instance::#make(&self.instance, (#(#names,)*) #(, #upload)*)
            }
        }
    }
}
