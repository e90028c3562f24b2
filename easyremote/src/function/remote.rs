//! The traits that `#[remote]` implements for a function's stub.

use std::any::Any;

use crate::function::arguments::Arguments;
use crate::function::descriptor::Descriptor;
use crate::function::outcome::{Outcome, Stages};
use crate::function::signature::Signature;
use crate::function::text::ShownError;
use crate::function::upload::Uploaded;

/// A remote function, as its callers and its nodes know it.
///
/// Implemented by `#[remote]` for the function's stub; not meant to be written by hand.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function",
    label = "not a #[remote] function"
)]
pub trait Remote: Sized + 'static {
    /// Name, kind, parameters, documentation.
    const DESCRIPTOR: Descriptor;
    /// The arguments, as a tuple.
    type Arguments: Arguments;
    /// What one item of the caller's stream is; [`Never`](crate::__private::Never) if it sends
    /// none.
    type Upload: Uploaded;

    /// The types as serde sees them; traced once.
    fn signature() -> &'static Signature;
}

/// A remote function that gives one result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function that gives one result",
    label = "does not give one result",
    note = "one that gives a stream is implemented by one that does: \
            #[remote(stream, implements = {Self})]"
)]
pub trait RemoteUnary: Remote {
    /// What it returns.
    type Output: Outcome<Error: Send>;

    /// The text of the function's own failure, if it travels as text.
    fn output_text(_: &dyn Any) -> ShownError {
        None
    }
}

/// A remote function that gives a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function that gives a stream",
    label = "does not give a stream",
    note = "one that gives one result is implemented by one that does: drop `stream`"
)]
pub trait RemoteStream: Remote {
    /// Whether setting the stream up can fail.
    type Setup: Outcome<Value = (), Error: Send>
        + Stages<Self::Item, ItemFailure = <Self::Item as Outcome>::Failure>;
    /// What one item is.
    type Item: Outcome<Error: Send>;

    /// The text of a failure of the set-up, if it travels as text.
    fn setup_text(_: &dyn Any) -> ShownError {
        None
    }

    /// The text of the failure of one item, if it travels as text.
    fn item_text(_: &dyn Any) -> ShownError {
        None
    }
}
