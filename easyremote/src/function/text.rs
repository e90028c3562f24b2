//! Errors that are sent as text: functions with `err = "display"`.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Display;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::error::{Error, with_causes};
use crate::function::outcome::{Cause, Outcome, Sent, Stages, Value};

/// A type that may be the `E` of a `Result<T, E>` whose errors are sent as text.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as text",
    label = "not `Display + Send + 'static`",
    note = "`err = \"display\"` needs an error that implements `Display` and `Send`: implement \
            `Display`, or write `Box<dyn Error + Send + Sync>` for `Box<dyn Error>`"
)]
pub trait Shown: Display + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<E: Display + Send + 'static> Shown for E {}

/// A `Result<T, E>`, or an alias of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named like a `Result` but is not one",
    label = "not a `Result<T, E>`",
    note = "a plain value has no error to display: drop `err`, and write #[remote(plain)]"
)]
pub trait Fallible: Send + 'static {
    /// `T`
    type Value: Value;
    /// `E`
    type Failure: Shown;

    /// Converts it into a `Result`.
    ///
    /// # Errors
    /// The function's failure.
    fn into_result(self) -> Result<Self::Value, Self::Failure>;
}

impl<T: Value, E: Shown> Fallible for Result<T, E> {
    type Value = T;
    type Failure = E;

    fn into_result(self) -> Self {
        self
    }
}

/// The type of a failure that is sent as text. No value of it exists.
///
/// It is not [`Never`](crate::function::outcome::Never), so that a signature shows that the
/// function can fail.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Text {}

/// Formats the errors of a function that returns `R`, with their causes.
///
/// Specialization by autoref: generated code calls `(&&&ErrorsOf::<R>::new()).text(error)` with the
/// four traits below in scope, and the compiler selects the first one whose bounds the error type
/// satisfies. An unsuitable type is reported elsewhere, by the bounds of [`Displayed`].
pub struct ErrorsOf<R>(PhantomData<fn() -> R>);

/// The text of an error; `None` if it cannot be shown.
pub type ShownError = Option<String>;

impl<R> ErrorsOf<R> {
    /// Formats errors of `R`.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<R> Clone for ErrorsOf<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for ErrorsOf<R> {}

/// Formats an [`Error`](StdError) with its sources.
pub trait TextOfError {
    /// Returns the text of `{:#}`, which for some types is the whole chain, and the sources that
    /// the text does not contain.
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<T, E: StdError + 'static> TextOfError for &&&ErrorsOf<Result<T, E>> {
    fn text(self, error: &dyn Any) -> ShownError {
        let error: &E = error.downcast_ref()?;
        Some(with_causes(format!("{error:#}"), error.source()))
    }
}

/// Formats a type that derefs to an [`Error`](StdError) without being one, such as `Box<dyn
/// Error>`.
pub trait TextOfContainer {
    /// Like [`TextOfError::text`].
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<T, E> TextOfContainer for &&ErrorsOf<Result<T, E>>
where
    E: Display + Deref<Target: StdError> + 'static,
{
    fn text(self, error: &dyn Any) -> ShownError {
        let error: &E = error.downcast_ref()?;
        Some(with_causes(format!("{error:#}"), error.deref().source()))
    }
}

/// Formats any other type that implements `Display`.
pub trait TextOfDisplay {
    /// Returns the text of `{:#}`.
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<T, E: Display + 'static> TextOfDisplay for &ErrorsOf<Result<T, E>> {
    fn text(self, error: &dyn Any) -> ShownError {
        let error: &E = error.downcast_ref()?;
        Some(format!("{error:#}"))
    }
}

/// Accepts any other type, and formats nothing: the bounds of [`Displayed`] report the error.
pub trait TextOfNothing {
    /// Returns `None`.
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<R> TextOfNothing for ErrorsOf<R> {
    fn text(self, _: &dyn Any) -> ShownError {
        None
    }
}

/// The [`Outcome`] of a function that returns `R`, a `Result<T, E>` whose `E` is sent as text.
pub struct Displayed<R>(PhantomData<fn() -> R>);

impl<R: Fallible> Outcome for Displayed<R> {
    type Raw = R;
    type Value = R::Value;
    type RawFailure = R::Failure;
    type Failure = Text;
    type Error = Error;

    fn split(raw: R) -> Result<R::Value, R::Failure> {
        raw.into_result()
    }

    fn sent(failure: R::Failure, text: fn(&dyn Any) -> ShownError) -> Sent<Text> {
        Sent::Text(text(&failure).unwrap_or_else(|| format!("{failure:#}")))
    }

    fn function_error(failure: Text) -> Error {
        match failure {}
    }

    fn own_failure(error: Error) -> Result<Text, Error> {
        Err(error)
    }
}

impl<R, I> Stages<I> for Displayed<R>
where
    R: Fallible<Value = ()>,
    I: Outcome,
{
    type ItemFailure = I::Failure;
    type ItemError = I::Error;

    fn setup_error(failure: Text) -> I::Error {
        match failure {}
    }

    fn item_error(failure: I::Failure) -> I::Error {
        I::function_error(failure)
    }

    fn cause(error: I::Error) -> Cause<Text, I::Failure> {
        I::own_failure(error).map_or_else(Cause::Remote, Cause::Item)
    }
}
