//! Maps a function's return type to the type that its caller receives.
//!
//! | the function returns | the caller receives |
//! |---|---|
//! | `T` | `Result<T, Error>` |
//! | `Result<T, E>` | `Result<T, CallError<E>>` |
//!
//! The mapping is by trait, so aliases of `Result` work.

use std::any::Any;
use std::fmt;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{CallError, Error, StreamError};

/// A type that may be an argument of a remote function.
///
/// Implemented for every owned type that implements `Serialize` and `DeserializeOwned`.
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
/// Implemented for every owned type that implements `Serialize` and `DeserializeOwned`.
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
/// Implemented for every owned type that implements `Serialize` and `DeserializeOwned`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as the error of a #[remote] function",
    label = "not `Serialize + DeserializeOwned + Send + 'static`",
    note = "return your own error: #[derive(serde::Serialize, serde::Deserialize)]",
    note = "or send it as text: #[remote(err = \"display\")]"
)]
pub trait Failure: Serialize + DeserializeOwned + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + 'static> Failure for T {}

/// The failure type of a function that cannot fail: no value of it exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

/// `T` itself. Generated code writes it around an item that is a `Result`, so that a compile error
/// about the item points to the function's return type.
pub type Itself<T> = T;

/// Splits one return type into value and failure, and maps both to the caller's types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named like a `Result` but is not one",
    label = "not a `Result<T, E>`",
    note = "if it is a plain value, write #[remote(plain)]"
)]
pub trait Outcome: 'static {
    /// The function's return type.
    type Raw: Send + 'static;
    /// The value on success.
    type Value: Value;
    /// The failure that the function returns.
    type RawFailure;
    /// The type in which the failure is sent to the caller.
    type Failure: Failure;
    /// The caller's error type.
    type Error: From<Error> + Send + 'static;

    /// Splits the function's return value.
    ///
    /// # Errors
    /// The function's own failure.
    fn split(raw: Self::Raw) -> Result<Self::Value, Self::RawFailure>;

    /// Converts the function's own failure to the form that is sent; `text` formats a failure that
    /// is sent as text.
    fn sent(failure: Self::RawFailure, text: fn(&dyn Any) -> Option<String>)
    -> Sent<Self::Failure>;

    /// Converts the function's own failure to the caller's error.
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
    /// Encoded by serde; the caller receives the value.
    Value(E),
    /// Its text; the caller receives an [`Error`] of kind `Failed`.
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

/// The cause of an error that the consumer of a stream receives.
#[derive(Debug)]
pub enum Cause<S, I> {
    /// The function failed to set up the stream.
    Setup(S),
    /// The function returned an error in place of an item.
    Item(I),
    /// Everything else.
    Remote(Error),
}

/// Merges the errors of the set-up, whose outcome is `Self`, and of the items, whose outcome is
/// `I`, for a caller that did not wait for the set-up separately.
pub trait Stages<I: Outcome>: Outcome<Value = ()> {
    /// How an item fails: `I::Failure`.
    type ItemFailure: 'static;
    /// The consumer's error type.
    type ItemError: From<Error> + Send + 'static;

    /// Converts a failure of the set-up to the consumer's error.
    fn setup_error(failure: Self::Failure) -> Self::ItemError;

    /// Converts a failure of an item to the consumer's error.
    fn item_error(failure: Self::ItemFailure) -> Self::ItemError;

    /// The reverse of [`setup_error`](Self::setup_error) and [`item_error`](Self::item_error).
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
