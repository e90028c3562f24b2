//! How a function's return type becomes what the caller gets.
//!
//! A plain value gives `Result<T, Error>` at the caller, a `Result<T, E>` gives
//! `Result<T, CallError<E>>`. The split goes by trait, so aliases of `Result` work.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Error, StreamError};

/// A type that may be an argument of a remote function.
///
/// Implemented for every type that serde can take apart and put together.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the network as an argument of a #[remote] function",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "a type of your own: #[derive(serde::Serialize, serde::Deserialize)]",
    note = "an array of more than 32 elements: a `Vec`, or a struct of your own that holds it with \
            `serde_big_array`, or bytes with `serde_bytes`",
    note = "an `Instant`, which means nothing elsewhere: a `SystemTime`, or a `Duration`"
)]
pub trait Argument: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Argument for T {}

/// A type that may be the result of a remote function, or an item of its stream.
///
/// Implemented for every type that serde can take apart and put together.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross the network as a result of a #[remote] function",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "a type of your own: #[derive(serde::Serialize, serde::Deserialize)]",
    note = "an array of more than 32 elements: a `Vec`, or a struct of your own that holds it with \
            `serde_big_array`, or bytes with `serde_bytes`",
    note = "an `Instant`, which means nothing elsewhere: a `SystemTime`, or a `Duration`"
)]
pub trait Value: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Value for T {}

/// A type that may be the `E` of a remote function's `Result<T, E>`.
///
/// Implemented for every type that serde can take apart and put together.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as the error of a #[remote] function",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "return your own error: #[derive(serde::Serialize, serde::Deserialize)]",
    note = "or send it as text: #[remote(err = \"display\")]"
)]
pub trait Failure: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Failure for T {}

/// The failure of what cannot fail: no value of it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// `T` itself. Generated code writes it around an item that is a `Result`, so that an error about
/// it appears where the function's return type is written.
pub type Itself<T> = T;

/// How one return type splits into value and failure, and what the caller sees of both.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named like a `Result` but is not one",
    label = "not a `Result<T, E>`",
    note = "if it is a plain value, write #[remote(plain)]"
)]
pub trait Outcome: 'static {
    /// What the function returns.
    type Raw: Send + 'static;
    /// What it returns when it succeeds.
    type Value: Value;
    /// What it returns when it fails.
    type RawFailure;
    /// What of that reaches the caller as a value.
    type Failure: Failure;
    /// What the caller gets instead of a value.
    type Error: From<Error> + Send + 'static;

    /// Takes the function's return value apart.
    ///
    /// # Errors
    /// The function's own failure.
    fn split(raw: Self::Raw) -> Result<Self::Value, Self::RawFailure>;

    /// In which form the function's own failure travels; `text` shows it, if it travels as text.
    fn sent(failure: Self::RawFailure, text: fn(&dyn Any) -> Option<String>)
    -> Sent<Self::Failure>;

    /// The caller's view of the function's own failure.
    fn function_error(failure: Self::Failure) -> Self::Error;

    /// The reverse of [`function_error`](Self::function_error).
    ///
    /// # Errors
    /// The error, if it is not the function's own.
    fn own_failure(error: Self::Error) -> Result<Self::Failure, Error>;
}

/// A function's own failure on its way to the caller.
#[derive(Debug)]
pub enum Sent<E> {
    /// Encoded by serde; the caller gets it back.
    Value(E),
    /// What it says; the caller gets an [`Error`] of kind `Failed`.
    Text(String),
}

/// The [`Outcome`] of a function that returns a plain `T`.
pub struct Plain<T>(PhantomData<fn() -> T>);

impl<T: Value> Outcome for Plain<T> {
    type Raw = T;
    type Value = T;
    type RawFailure = Never;
    type Failure = Never;
    type Error = Error;

    fn split(raw: T) -> Result<T, Never> {
        Ok(raw)
    }

    fn sent(failure: Never, _: fn(&dyn Any) -> Option<String>) -> Sent<Never> {
        match failure {}
    }

    fn function_error(failure: Never) -> Error {
        match failure {}
    }

    fn own_failure(error: Error) -> Result<Never, Error> {
        Err(error)
    }
}

impl<T: Value, E: Failure> Outcome for Result<T, E> {
    type Raw = Self;
    type Value = T;
    type RawFailure = E;
    type Failure = E;
    type Error = CallError<E>;

    fn split(raw: Self) -> Self {
        raw
    }

    fn sent(failure: E, _: fn(&dyn Any) -> Option<String>) -> Sent<E> {
        Sent::Value(failure)
    }

    fn function_error(failure: E) -> CallError<E> {
        CallError::Function(failure)
    }

    fn own_failure(error: CallError<E>) -> Result<E, Error> {
        match error {
            CallError::Function(failure) => Ok(failure),
            CallError::Remote(error) => Err(error),
        }
    }
}

/// What stands behind the error that the consumer of a stream sees.
#[derive(Debug)]
pub enum Cause<S, I> {
    /// The function could not set the stream up.
    Setup(S),
    /// The function gave an error in place of an item.
    Item(I),
    /// Everything else.
    Remote(Error),
}

/// What the items of a stream look like to a caller who did not wait for the set-up by itself:
/// the set-up's outcome is `Self`, the items' is `I`.
pub trait Stages<I: Outcome>: Outcome<Value = ()> {
    /// How an item fails: `I::Failure`.
    type ItemFailure: 'static;
    /// What the consumer gets instead of an item.
    type ItemError: From<Error> + Send + 'static;

    /// The consumer's view of a set-up that failed.
    fn setup_error(failure: Self::Failure) -> Self::ItemError;

    /// The consumer's view of an item that failed.
    fn item_error(failure: Self::ItemFailure) -> Self::ItemError;

    /// The reverse of the other two.
    fn cause(error: Self::ItemError) -> Cause<Self::Failure, Self::ItemFailure>;
}

impl<I: Outcome> Stages<I> for Plain<()> {
    type ItemFailure = I::Failure;
    type ItemError = I::Error;

    fn setup_error(failure: Never) -> I::Error {
        match failure {}
    }

    fn item_error(failure: I::Failure) -> I::Error {
        I::function_error(failure)
    }

    fn cause(error: I::Error) -> Cause<Never, I::Failure> {
        I::own_failure(error).map_or_else(Cause::Remote, Cause::Item)
    }
}

impl<S: Failure, T: Value> Stages<Plain<T>> for Result<(), S> {
    type ItemFailure = Never;
    type ItemError = CallError<S>;

    fn setup_error(failure: S) -> CallError<S> {
        CallError::Function(failure)
    }

    fn item_error(failure: Never) -> CallError<S> {
        match failure {}
    }

    fn cause(error: CallError<S>) -> Cause<S, Never> {
        match error {
            CallError::Function(failure) => Cause::Setup(failure),
            CallError::Remote(error) => Cause::Remote(error),
        }
    }
}

impl<S: Failure, T: Value, E: Failure> Stages<Result<T, E>> for Result<(), S> {
    type ItemFailure = E;
    type ItemError = CallError<StreamError<S, E>>;

    fn setup_error(failure: S) -> Self::ItemError {
        CallError::Function(StreamError::Setup(failure))
    }

    fn item_error(failure: E) -> Self::ItemError {
        CallError::Function(StreamError::Item(failure))
    }

    fn cause(error: Self::ItemError) -> Cause<S, E> {
        match error {
            CallError::Function(StreamError::Setup(failure)) => Cause::Setup(failure),
            CallError::Function(StreamError::Item(failure)) => Cause::Item(failure),
            CallError::Remote(error) => Cause::Remote(error),
        }
    }
}
