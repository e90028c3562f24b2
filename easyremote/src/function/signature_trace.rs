//! How a function's signature is found out: its types are traced, and hashed.

use ring::digest;

use crate::function::arguments::{Arguments, TypeSchemas};
use crate::function::outcome::{Never, Outcome};
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};
use crate::function::signature::Signature;
use crate::function::text::Text;
use crate::function::upload::Uploaded;
use crate::schema::{TypeSchema, trace};

/// Traces the types of a function that gives one result.
#[must_use]
pub fn trace_unary<F: RemoteUnary>() -> Signature {
    let (canonical, text) = outcome::<F::Output>();
    signature::<F>(&format!("unary {canonical}"), &text)
}

/// Traces the types of a function that gives a stream.
#[must_use]
pub fn trace_stream<F: RemoteStream>() -> Signature {
    let (setup, setup_text) = outcome::<F::Setup>();
    let (item, item_text) = outcome::<F::Item>();
    let stream = format!("impl Stream<Item = {item_text}>");
    let text = match setup_text.strip_prefix("Result<(), ") {
        Some(failure) => format!("Result<{stream}, {failure}"),
        None => stream,
    };
    signature::<F>(&format!("stream {setup} of {item}"), &text)
}

/// The canonical text and the readable one of what a function gives.
fn outcome<O: Outcome>() -> (String, String) {
    let value = trace::<O::Value>();
    let failure = trace::<O::Failure>();
    let canonical = format!("{} or {}", value.canonical(), failure.canonical());
    let text = if failure == trace::<Never>() {
        value.to_string()
    } else if failure == trace::<Text>() {
        format!("Result<{value}, Text>")
    } else {
        format!("Result<{value}, {failure}>")
    };
    (canonical, text)
}

fn signature<F: Remote>(result: &str, text: &str) -> Signature {
    let TypeSchemas(schemas) = F::Arguments::schemas();
    let arguments: Vec<String> = schemas.iter().map(TypeSchema::canonical).collect();
    let mut canonical = format!("({}) -> {result}", arguments.join(", "));
    let mut named: Vec<String> = F::DESCRIPTOR
        .parameters
        .iter()
        .zip(&schemas)
        .map(|(name, shape)| format!("{name}: {shape}"))
        .collect();
    let TypeSchemas(upload) = F::Upload::schemas();
    for upload in upload.iter().filter(|shape| **shape != trace::<Never>()) {
        canonical.push_str(&format!(" with a stream of {}", upload.canonical()));
        named.push(format!("impl Stream<Item = {upload}>"));
    }
    let mut first = [0; 8];
    let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
    first.copy_from_slice(&hash.as_ref()[..8]);
    Signature {
        // 0 stands for a caller that knows no types.
        fingerprint: u64::from_be_bytes(first).max(1),
        text: format!("({}) -> {text}", named.join(", ")),
    }
}
