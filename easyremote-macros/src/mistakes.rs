//! Collects all mistakes in one use of the attribute.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// The mistakes found so far, in the order in which they were found.
#[derive(Default)]
pub(crate) struct Mistakes {
    error: Option<Error>,
}

impl Mistakes {
    /// Adds a mistake at `tokens`; `message` contains what to write instead.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.push(Error::new_spanned(tokens, message));
    }

    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.error {
            Some(all) => all.combine(error),
            none => *none = Some(error),
        }
    }

    /// Returns one `compile_error!` per mistake, or `None` without mistakes.
    pub(crate) fn into_compile_errors(self) -> Option<TokenStream> {
        self.error.map(|error| error.into_compile_error())
    }

    /// Returns the messages, for tests.
    #[cfg(test)]
    pub(crate) fn messages(self) -> Vec<String> {
        self.error.into_iter().flatten().map(|error| error.to_string()).collect()
    }
}
