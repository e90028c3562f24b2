//! A function's types as serde sees them: a fingerprint for machines, a text for people.

use std::sync::OnceLock;

use ring::digest;

use crate::function::arguments::{Arguments, TypeSchemas};
use crate::function::outcome::{Never, Outcome};
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};
use crate::function::text::Text;
use crate::function::upload::Uploaded;
use crate::schema::{TypeSchema, trace};

/// The types of a function's arguments and results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Equal for two functions whose values mean the same on the wire; never 0.
    pub(crate) fingerprint: u64,
    /// Such as `(a: i64, b: i64) -> i64`.
    pub(crate) text: String,
}

/// Where a stub keeps its signature once it is traced.
#[derive(Debug)]
pub struct SignatureCell(OnceLock<Signature>);

impl SignatureCell {
    /// An empty cell.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The signature, traced on the first call.
    pub fn get(&self, trace: fn() -> Signature) -> &Signature {
        self.0.get_or_init(trace)
    }
}

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
