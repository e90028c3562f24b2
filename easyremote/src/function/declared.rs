//! What the implementation of a declared function must have in common with its declaration.
//!
//! Generated code names these functions with the types of both; a difference is an error of the
//! compiler at the place where the type is written.

use crate::function::outcome::Outcome;
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};

/// Compiles only if the declaration `D` takes the arguments `A`.
pub const fn same_arguments<D, A>()
where
    D: Remote,
    D::Arguments: SameArguments<A>,
{
}

/// Compiles only if the declaration `D` takes a client stream of `U`.
pub const fn same_upload<D, U>()
where
    D: Remote,
    D::Upload: SameUpload<U>,
{
}

/// Compiles only if the declaration `D` gives what has the outcome `O`.
pub const fn same_result<D, O>()
where
    D: GivesOneResult,
    O: Outcome,
    D::Value: SameResult<O::Value>,
    D::Failure: SameFailure<O::Failure>,
{
}

/// Compiles only if the declaration `D` gives a stream, whose set-up has the outcome `S`, and each of
/// whose items the outcome `I`.
pub const fn same_stream<D, S, I>()
where
    D: GivesStream,
    S: Outcome,
    I: Outcome,
    D::SetupFailure: SameSetup<S::Failure>,
    D::Value: SameItem<I::Value>,
    D::Failure: SameFailure<I::Failure>,
{
}

/// A declared function that gives one result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared as a function that gives a stream",
    label = "this gives one result",
    note = "return a stream, and write #[remote(stream, implements = ..)]"
)]
pub trait GivesOneResult {
    /// What it gives.
    type Value;
    /// How it fails.
    type Failure;
}

#[diagnostic::do_not_recommend]
impl<D: RemoteUnary> GivesOneResult for D {
    type Value = <D::Output as Outcome>::Value;
    type Failure = <D::Output as Outcome>::Failure;
}

/// A declared function that gives a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is declared as a function that gives one result",
    label = "this gives a stream",
    note = "return the result, and drop `stream`"
)]
pub trait GivesStream {
    /// How its set-up fails.
    type SetupFailure;
    /// What an item is.
    type Value;
    /// How an item fails.
    type Failure;
}

#[diagnostic::do_not_recommend]
impl<D: RemoteStream> GivesStream for D {
    type SetupFailure = <D::Setup as Outcome>::Failure;
    type Value = <D::Item as Outcome>::Value;
    type Failure = <D::Item as Outcome>::Failure;
}

macro_rules! same {
    ($($(#[$attribute:meta])* $name:ident)*) => {$(
        $(#[$attribute])*
        pub trait $name<Here> {}

        #[diagnostic::do_not_recommend]
        impl<T> $name<T> for T {}
    )*};
}

same! {
    /// The declared arguments, if they are `Here`.
    #[diagnostic::on_unimplemented(
        message = "arguments `{Here}` differ from the declaration, which takes `{Self}`",
        label = "the declaration takes `{Self}`"
    )]
    SameArguments

    /// What is declared as the item of the client stream, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "a client stream of `{Here}` differs from the declaration, which takes one of `{Self}`",
        label = "the declaration takes a stream of `{Self}`",
        note = "a function that takes no stream takes one of `Never`"
    )]
    SameUpload

    /// The declared result, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the result `{Here}` differs from the declaration, which gives `{Self}`",
        label = "the declaration gives `{Self}`"
    )]
    SameResult

    /// The declared error, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the error `{Here}` differs from the declaration, which has `{Self}`",
        label = "the declaration fails with `{Self}`",
        note = "what cannot fail has the error `Never`, and with `err = \"display\"` it is `Text`"
    )]
    SameFailure

    /// The declared error of the set-up, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "the error `{Here}` of the set-up differs from the declaration, which has `{Self}`",
        label = "setting up the declared stream fails with `{Self}`",
        note = "what cannot fail has the error `Never`, and with `err = \"display\"` it is `Text`"
    )]
    SameSetup

    /// What is declared as the item, if it is `Here`.
    #[diagnostic::on_unimplemented(
        message = "items `{Here}` differ from the declaration, which gives `{Self}`",
        label = "the declaration gives a stream of `{Self}`"
    )]
    SameItem
}
