//! Checks a client stream, and the function that takes it.

use syn::{ReturnType, Type};

use crate::args::Options;
use crate::check::crossing::Crossing;
use crate::mistakes::Mistakes;
use crate::model::Function;
use crate::parameters::{Origin, Parameter};
use crate::returns::{Returns, Source};
use crate::types::{peel, spell};

/// Adds to `mistakes` if `function` takes two client streams, or one that it cannot await.
pub(super) fn check(function: &Function, options: &Options, mistakes: &mut Mistakes) {
    let mut uploads = function.parameters().filter(Parameter::is_upload);
    if uploads.next().is_none() {
        return;
    }
    for second in uploads {
        mistakes.at(second.ty, "one client stream per call; merge them into one stream of an enum");
    }
    let signature = &function.signature;
    if let Returns::Stream(stream) = Returns::of(&signature.output) {
        if let (Source::Iterator, ReturnType::Type(_, ty)) = (stream.source, &signature.output) {
            let item = stream.item.map_or_else(|| "T".to_owned(), spell);
            let message = format!(
                "write `impl Stream<Item = {item}>`: an iterator cannot await its client stream"
            );
            mistakes.at(ty, message);
        }
    } else if options.stream.is_none() && signature.asyncness.is_none() {
        mistakes.at(
            signature.fn_token,
            "write `async fn`: a sync function cannot await its client stream",
        );
    }
}

/// Adds the mistakes in the type of one client stream to `mistakes`.
pub(super) fn kind(parameter: &Parameter<'_>, mistakes: &mut Mistakes) {
    let (ty, Origin::Upload(item)) = (parameter.ty, &parameter.origin) else {
        return;
    };
    let name = parameter.name_or("name");
    let written = item.map_or_else(|| "T".to_owned(), spell);
    let better = format!("write `{name}: impl Stream<Item = {written}>`");
    if !matches!(peel(ty), Type::ImplTrait(_)) {
        mistakes.at(ty, format!("the library chooses the type of a client stream: {better}"));
    } else if item.is_none() {
        mistakes.at(ty, format!("the type of the items is not visible here: {better}"));
    }
    Crossing::upload().check(ty, mistakes);
}
