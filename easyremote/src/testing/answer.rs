//! The answers of a mock, before and after they are encoded.

use std::future::Future;

use crate::error::{Error, ErrorKind};
use crate::function::handler::Reply;
use crate::function::item_writer::{ItemWriter, put_value};
use crate::function::operators::piece::{After, EncodedItem, Flow, ItemForm, Piece};
use crate::function::outcome::{Cause, Outcome, Sent, Stages};
use crate::function::remote::{RemoteStream, RemoteUnary};
use crate::testing::script::ReceivedCall;
use crate::wire::error::put_error;
use crate::wire::frame::FrameKind;

/// The result of a call of `F`: the output of [`Call`](crate::Call).
pub type Answer<F> = Result<
    <<F as RemoteUnary>::Output as Outcome>::Value,
    <<F as RemoteUnary>::Output as Outcome>::Error,
>;

/// An item of a stream of `F`: the item of [`StreamCall`](crate::StreamCall).
pub type Item<F> = Result<
    <<F as RemoteStream>::Item as Outcome>::Value,
    <<F as RemoteStream>::Setup as Stages<<F as RemoteStream>::Item>>::ItemError,
>;

/// A closure that returns a future: `|(a, b)| async move { .. }`.
///
/// Implemented for every `Fn` whose future is `Send`. The methods that take one document its
/// parameter and the output of its future.
pub trait AsyncAnswer<A>: Fn(A) -> Self::Future + Send + Sync + 'static {
    /// The future that the closure returns.
    type Future: Future<Output = Self::Answer> + Send + 'static;
    /// The output of the future.
    type Answer;
}

impl<A, C, Fut> AsyncAnswer<A> for C
where
    C: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    type Future = Fut;
    type Answer = Fut::Output;
}

/// A closure that also receives the caller's stream: `|(a,), items| async move { .. }`.
///
/// Implemented like [`AsyncAnswer`].
pub trait AsyncAnswerWith<A, U>: Fn(A, U) -> Self::Future + Send + Sync + 'static {
    /// The future that the closure returns.
    type Future: Future<Output = Self::Answer> + Send + 'static;
    /// The output of the future.
    type Answer;
}

impl<A, U, C, Fut> AsyncAnswerWith<A, U> for C
where
    C: Fn(A, U) -> Fut + Send + Sync + 'static,
    Fut: Future + Send + 'static,
{
    type Future = Fut;
    type Answer = Fut::Output;
}

/// An [`Answer`], split into the form that is sent.
pub(super) struct Split<F: RemoteUnary>(
    #[allow(clippy::type_complexity)]
    Result<<F::Output as Outcome>::Value, Result<<F::Output as Outcome>::Failure, Error>>,
);

impl<F: RemoteUnary> Split<F> {
    pub(super) fn new(answer: Answer<F>) -> Self {
        Self(answer.map_err(F::Output::own_failure))
    }

    /// Returns the frame that a node answers with.
    pub(super) fn encode(&self, received: &ReceivedCall) -> Reply {
        let mut reply = Vec::new();
        let (form, types) = ((received.codec, received.limits), F::signature());
        let encoded = match &self.0 {
            Ok(value) => put_value(&mut reply, FrameKind::Body, form, types.value, value),
            Err(Ok(failure)) => {
                put_value(&mut reply, FrameKind::Fault, form, types.failure, failure)
            }
            Err(Err(error)) => Err(error.clone()),
        };
        if let Err(error) = encoded {
            put_error(&mut reply, &at(error, &received.node));
        }
        reply
    }
}

/// The type of the items of `F`.
pub(super) type MockedValue<F> = <<F as RemoteStream>::Item as Outcome>::Value;

/// The type of the errors of single items of `F`.
pub(super) type MockedFailure<F> = <<F as RemoteStream>::Item as Outcome>::Failure;

/// An [`Item`], split into the form that is sent.
pub(super) enum Step<F: RemoteStream> {
    Item(Result<MockedValue<F>, Sent<MockedFailure<F>>>),
    Setup(<F::Setup as Outcome>::Failure),
    Broken(Error),
}

impl<F: RemoteStream> Step<F> {
    pub(super) fn new(item: Item<F>) -> Self {
        match item.map_err(F::Setup::cause) {
            Ok(value) => Self::Item(Ok(value)),
            Err(Cause::Item(failure)) => Self::Item(Err(Sent::Value(failure))),
            Err(Cause::Setup(failure)) => Self::Setup(failure),
            // Only the function's own errors have this kind. In place of an item, they do not end
            // the stream.
            Err(Cause::Remote(error)) if error.kind() == ErrorKind::Failed => {
                Self::Item(Err(Sent::Text(error.to_string())))
            }
            Err(Cause::Remote(error)) => Self::Broken(error),
        }
    }

    /// Adds it to an open stream.
    ///
    /// # Errors
    /// The error that the stream ends with.
    ///
    /// # Panics
    /// If it is the error of a set-up.
    pub(super) fn put(&self, writer: &mut ItemWriter) -> Result<(), Error> {
        match self {
            Self::Item(item) => writer.item(F::signature(), item),
            Self::Setup(_) => panic!("the error of a set-up can only be the first item"),
            Self::Broken(error) => Err(error.clone()),
        }
        .map_err(|error| at(error, writer.node()))
    }

    /// Returns the step as it enters a chain of operators.
    pub(super) fn produced<X>(&self, form: &ItemForm, step: X) -> Flow<MockedValue<F>, X> {
        match self {
            Self::Item(Ok(value)) => match EncodedItem::of(value, form) {
                Ok(item) => Flow::Item(Piece::Encoded(item)),
                Err(error) => Flow::After(After::Broken(error)),
            },
            _ => Flow::After(After::Fault(step)),
        }
    }

    /// Returns the frame that refuses the stream, if it is an error of the set-up.
    pub(super) fn refusal(&self, received: &ReceivedCall) -> Option<Reply> {
        let mut reply = Vec::new();
        let form = (received.codec, received.limits);
        let encoded = match self {
            Self::Item(_) => return None,
            Self::Setup(failure) => {
                let of = F::signature().setup_failure;
                put_value(&mut reply, FrameKind::Fault, form, of, failure)
            }
            Self::Broken(error) => Err(error.clone()),
        };
        if let Err(error) = encoded {
            put_error(&mut reply, &at(error, &received.node));
        }
        Some(reply)
    }
}

/// Sets the node of `error` unless it has one.
fn at(error: Error, node: &str) -> Error {
    if error.node().is_some() { error } else { error.with_node(node) }
}
