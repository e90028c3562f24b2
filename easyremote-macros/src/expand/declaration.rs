//! Expands the part of a declaration that remains beside its stub.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ReturnType, Type};

use crate::expand::stub::Stub;
use crate::parameters::Parameter;
use crate::returns::Returns;

impl Stub<'_> {
    /// Writes the streams of the signature, which the stub does not name, into an unused function:
    /// so their imports count as used, and an unknown trait is an error.
    ///
    /// ```text
    /// // Input:
    /// #[remote(stream)]
    /// fn translate(audio: impl Stream<Item = Chunk>, to: Language) -> impl Stream<Item = Text>;
    ///
    /// // Output:
    /// const _: () = { fn written(_: impl Stream<Item = Chunk>, _: impl Stream<Item = Text>) {} };
    /// ```
    pub(super) fn written(&self) -> TokenStream {
        let uploads = self.parameters.iter().filter(|it| it.is_upload());
        let mut types: Vec<&Type> = uploads.map(|upload: &Parameter<'_>| upload.ty).collect();
        if let (Returns::Stream(_), ReturnType::Type(_, ty)) =
            (&self.returns, &self.function.signature.output)
        {
            types.push(ty);
        }
        if types.is_empty() {
            return TokenStream::new();
        }
        let Self { cfgs, lints, .. } = self;
        quote! {
            #(#cfgs)*
            #(#lints)*
            #[allow(dead_code, deprecated)]
            const _: () = {
                fn written(#(_: #types),*) {}
            };
        }
    }
}
