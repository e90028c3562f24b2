//! Builds a function's signature: traces its types, and hashes them.

use ring::digest;

use crate::function::arguments::{Arguments, TypeSchemas};
use crate::function::outcome::{Never, Outcome};
use crate::function::remote::{Remote, RemoteOperator, RemoteStream, RemoteUnary};
use crate::function::signature::Signature;
use crate::function::text::Text;
use crate::function::upload::Uploaded;
use crate::wire::kind::Kind;
use crate::wire::value::ValueType;

/// Traces the types of a function that returns one result.
#[must_use]
pub fn trace_unary<F: RemoteUnary>() -> Signature {
    let result = OutcomeTypes::of::<F::Output>();
    let canonical = format!("unary {}", result.canonical());
    signature::<F>(&canonical, &result.text(), result, ValueType::of::<Never>())
}

/// Traces the types of a function that returns a stream.
#[must_use]
pub fn trace_stream<F: RemoteStream>() -> Signature {
    let setup = OutcomeTypes::of::<F::Setup>();
    let item = OutcomeTypes::of::<F::Item>();
    let stream = format!("impl Stream<Item = {}>", item.text());
    let text = match setup.text().strip_prefix("Result<(), ") {
        Some(failure) => format!("Result<{stream}, {failure}"),
        None => stream,
    };
    let canonical = format!("stream {} of {}", setup.canonical(), item.canonical());
    signature::<F>(&canonical, &text, item, setup.failure)
}

/// Traces the types of an operator. The items that it takes are the `upload` of the signature.
#[must_use]
pub fn trace_operator<O: RemoteOperator>() -> Signature {
    let never = ValueType::of::<Never>();
    let (item, value) = (ValueType::of::<O::Item>(), ValueType::of::<O::Output>());
    let types = OutcomeTypes { value, failure: never };
    let canonical = format!("operator {} from {}", value.canonical, item.canonical);
    signature_of::<O>(&canonical, &value.text, types, never, item)
}

/// The types of a function's result, or of its items.
struct OutcomeTypes {
    value: &'static ValueType,
    failure: &'static ValueType,
}

impl OutcomeTypes {
    fn of<O: Outcome>() -> Self {
        Self { value: ValueType::of::<O::Value>(), failure: ValueType::of::<O::Failure>() }
    }

    /// Returns the text that is hashed.
    fn canonical(&self) -> String {
        format!("{} or {}", self.value.canonical, self.failure.canonical)
    }

    /// Returns the text that is displayed.
    fn text(&self) -> String {
        let (value, failure) = (&self.value.text, &self.failure.text);
        if std::ptr::eq(self.failure, ValueType::of::<Never>()) {
            value.clone()
        } else if std::ptr::eq(self.failure, ValueType::of::<Text>()) {
            format!("Result<{value}, Text>")
        } else {
            format!("Result<{value}, {failure}>")
        }
    }
}

/// Returns the signature of `F`. `result` is its return type as hashed, `result_text` as displayed.
fn signature<F: Remote>(
    result: &str,
    result_text: &str,
    types: OutcomeTypes,
    setup_failure: &'static ValueType,
) -> Signature {
    signature_of::<F>(result, result_text, types, setup_failure, F::Upload::schema())
}

/// [`signature`], where `upload` is the type of the items that come in.
fn signature_of<F: Remote>(
    result: &str,
    result_text: &str,
    types: OutcomeTypes,
    setup_failure: &'static ValueType,
    upload: &'static ValueType,
) -> Signature {
    let TypeSchemas(arguments) = F::Arguments::schemas();
    // The names are included: nothing else distinguishes two parameters of one type that have
    // changed places.
    let named = |text: fn(&ValueType) -> &str| {
        let parameters = F::DESCRIPTOR.parameters.iter().zip(&arguments);
        parameters.map(|(name, of)| format!("{name}: {}", text(of))).collect::<Vec<_>>()
    };
    let mut canonical = format!("({}) -> {result}", named(|of| &of.canonical).join(", "));
    let mut shown = named(|of| &of.text);
    let incoming = match F::DESCRIPTOR.kind {
        Kind::Operator => "the item",
        _ => "the caller's stream",
    };
    if !std::ptr::eq(upload, ValueType::of::<Never>()) {
        canonical.push_str(&format!(" with a stream of {}", upload.canonical));
        match F::DESCRIPTOR.kind {
            Kind::Operator => shown.insert(0, upload.text.clone()),
            _ => shown.push(format!("impl Stream<Item = {}>", upload.text)),
        }
    }
    let mut first = [0; 8];
    let hash = digest::digest(&digest::SHA256, canonical.as_bytes());
    first.copy_from_slice(&hash.as_ref()[..8]);
    Signature {
        // 0 means that the caller knows no types.
        fingerprint: u64::from_be_bytes(first).max(1),
        text: format!("({}) -> {result_text}", shown.join(", ")),
        arguments,
        upload,
        setup_failure,
        value: types.value,
        failure: types.failure,
        refused: None,
        untried: Vec::new(),
    }
    .with_remarks(F::DESCRIPTOR.parameters, incoming)
}
