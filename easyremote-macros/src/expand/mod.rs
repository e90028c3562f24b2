//! Expands the stub of a function, for its callers and its nodes.
//!
//! Generated code names only `__private` and `::core`, and contains no logic.

use proc_macro2::TokenStream;
use quote::quote;

use crate::args::Options;
use crate::check::check;
use crate::expand::stub::Stub;
use crate::mistakes::Mistakes;
use crate::model::{self, Under};

mod block;
mod call;
mod declaration;
mod entry;
mod handle;
mod handler;
mod implements;
mod method;
#[cfg(test)]
mod odd_input;
mod operator;
mod outcome;
#[cfg(test)]
mod random_input;
mod service;
mod stub;
#[cfg(test)]
mod tests;

/// Returns the function and its stub, or the function and its mistakes.
///
/// ```text
/// // Input:
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 { a + b }
///
/// // Output:
/// fn add(a: i64, b: i64) -> i64 { a + b }
/// struct add {}
/// impl Remote for add { .. }
/// impl RemoteUnary for add { .. }
/// impl add { fn call(..) -> Call<Self> { .. } }
/// impl Local for add { .. }
/// submit!(only::<add>);
/// ```
pub(crate) fn remote(options: TokenStream, item: TokenStream) -> TokenStream {
    match model::under(&item) {
        Under::Block => return block::remote(options, item),
        Under::Trait => return service::remote(options, item),
        Under::Function => {}
    }
    let mut mistakes = Mistakes::default();
    let options = Options::parse(options, &mut mistakes);
    let function = match model::parse(item.clone()) {
        Ok(function) => Some(function),
        Err(error) => {
            mistakes.push(error);
            None
        }
    };
    if let Some(function) = &function {
        check(function, &options, &mut mistakes);
    }
    let kept = match &function {
        // A declaration has only a stub.
        Some(function) if function.is_declaration() => TokenStream::new(),
        Some(function) => function.without_helpers().unwrap_or(item),
        None => item,
    };
    match (mistakes.into_compile_errors(), &function) {
        (Some(errors), _) => quote!(#kept #errors),
        (None, Some(function)) => {
            let element = options.batch.is_some().then(|| function.element());
            let stub = Stub::new(element.as_ref().unwrap_or(function), &options).expand();
            // In a build without the feature `node`, it may be unused.
            let used = (!kept.is_empty()).then(|| quote!(#[allow(dead_code)]));
            quote!(#used #kept #stub)
        }
        (None, None) => kept,
    }
}
