//! Errors that travel as text: the functions with `err = "display"`.

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
    note = "`err = \"display\"` needs an error that shows itself and may move between threads: \
            implement `Display`, or write `Box<dyn Error + Send + Sync>` for `Box<dyn Error>`"
)]
pub trait Shown: Display + Send + 'static {}

#[diagnostic::do_not_recommend]
impl<E: Display + Send + 'static> Shown for E {}

/// A `Result<T, E>`, by whatever name.
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

    /// The value itself.
    ///
    /// # Errors
    /// Its failure.
    fn into_result(self) -> Result<Self::Value, Self::Failure>;
}

impl<T: Value, E: Shown> Fallible for Result<T, E> {
    type Value = T;
    type Failure = E;

    fn into_result(self) -> Self {
        self
    }
}

/// Stands for a failure that travels as text: no value of it crosses the network.
///
/// Not [`Never`](crate::function::outcome::Never), so that signatures show that there is one.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Text {}

/// Shows the errors of a function that returns `R`, with their causes.
///
/// Generated code knows the type, and calls `(&&&ErrorsOf::<R>::new()).text(error)` with the four
/// traits below in scope: the compiler takes the first that the type of the error allows. What is
/// wrong with the type is not said here.
pub struct ErrorsOf<R>(PhantomData<fn() -> R>);

/// The text of an error; `None` if it cannot be shown.
pub type ShownError = Option<String>;

impl<R> ErrorsOf<R> {
    /// Shows errors of `R`.
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

/// Shows an [`Error`](StdError) with its sources.
pub trait TextOfError {
    /// The text of `{:#}`, which is the whole chain where the type shows that, and all sources that
    /// are not in it.
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<T, E: StdError + 'static> TextOfError for &&&ErrorsOf<Result<T, E>> {
    fn text(self, error: &dyn Any) -> ShownError {
        let error: &E = error.downcast_ref()?;
        Some(with_causes(format!("{error:#}"), error.source()))
    }
}

/// Shows what contains an [`Error`](StdError) without being one, such as `Box<dyn Error>`.
pub trait TextOfContainer {
    /// As [`TextOfError::text`].
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

/// Shows whatever else can be shown.
pub trait TextOfDisplay {
    /// The text of `{:#}`.
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<T, E: Display + 'static> TextOfDisplay for &ErrorsOf<Result<T, E>> {
    fn text(self, error: &dyn Any) -> ShownError {
        let error: &E = error.downcast_ref()?;
        Some(format!("{error:#}"))
    }
}

/// Shows nothing: the bounds of [`Displayed`] say what is wrong.
pub trait TextOfNothing {
    /// `None`.
    fn text(self, error: &dyn Any) -> ShownError;
}

impl<R> TextOfNothing for ErrorsOf<R> {
    fn text(self, _: &dyn Any) -> ShownError {
        None
    }
}

/// The [`Outcome`] of a function that returns `R`, a `Result<T, E>` whose `E` travels as text.
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
