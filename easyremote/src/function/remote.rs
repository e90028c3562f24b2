//! The traits that `#[remote]` implements for a function's stub.

use std::any::Any;

use crate::function::arguments::Arguments;
use crate::function::descriptor::Descriptor;
use crate::function::outcome::{Outcome, Stages, Value};
use crate::function::signature::Signature;
use crate::function::text::ShownError;
use crate::function::upload::Uploaded;

/// A remote function, as seen by both its callers and its nodes.
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
    /// The item of the caller's stream; [`Never`](crate::__private::Never) if the function takes no
    /// stream.
    type Upload: Uploaded;

    /// Returns the types as serde sees them, traced on the first call.
    fn signature() -> &'static Signature;
}

/// A remote function that returns one result.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function that returns one result",
    label = "does not return one result",
    note = "if the declaration returns a stream, so must its implementation: \
            #[remote(stream, implements = {Self})]"
)]
pub trait RemoteUnary: Remote {
    /// The function's return type.
    type Output: Outcome<Error: Send>;

    /// Returns the text of the function's own failure, if it is sent as text.
    fn output_text(_: &dyn Any) -> ShownError {
        None
    }
}

/// A remote function that may run more than once for one call. Implemented by
/// `#[remote(idempotent)]` for the function's stub; not meant to be written by hand.
///
/// ```
/// use easyremote::client::Idempotent;
/// use easyremote::remote;
///
/// #[remote(idempotent)]
/// async fn look_up(key: String) -> u64;
///
/// fn is_idempotent<F: Idempotent>() {}
/// is_idempotent::<look_up>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` may run only once for each call",
    label = "not an idempotent function",
    note = "if running it twice has the same effect as running it once, write \
            `#[remote(idempotent)]`; a function that is declared elsewhere is idempotent if its \
            declaration is"
)]
pub trait Idempotent: Remote {}

/// A remote function that is applied to the items of a stream. Implemented by `#[remote(operator)]`
/// for the function's stub; not meant to be written by hand.
///
/// ```
/// use easyremote::client::RemoteOperator;
/// use easyremote::remote;
///
/// #[remote(operator)]
/// fn hot(celsius: f64, limit: f64) -> Option<u32> {
///     (celsius > limit).then_some(celsius as u32)
/// }
///
/// fn takes_numbers<O: RemoteOperator<Item = f64, Output = u32>>() {}
/// takes_numbers::<hot>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote(operator)] function",
    label = "not an operator",
    note = "if the declaration is one, so must its implementation be: \
            #[remote(operator, implements = {Self})]"
)]
pub trait RemoteOperator: Remote {
    /// The type of the items that it takes.
    type Item: Value;
    /// The type of the items that it passes on; of an operator that only leaves items out, `Item`.
    type Output: Value;
}

/// An operator that takes items of type `T`. Implemented by `#[remote(operator)]` for the function's
/// stub; not meant to be written by hand.
#[diagnostic::on_unimplemented(
    message = "the operator `{Self}` does not take items of type `{T}`",
    label = "the items of the stream are `{T}`",
    note = "apply an operator whose first parameter is `{T}`, or `&{T}` if it returns `bool`"
)]
pub trait TakesItems<T>: RemoteOperator {}

/// A remote function that returns a stream.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a #[remote] function that returns a stream",
    label = "does not return a stream",
    note = "if the declaration returns one result, so must its implementation: drop `stream`"
)]
pub trait RemoteStream: Remote {
    /// The outcome of the stream's set-up.
    type Setup: Outcome<Value = (), Error: Send>
        + Stages<Self::Item, ItemFailure = <Self::Item as Outcome>::Failure>;
    /// The outcome of one item.
    type Item: Outcome<Error: Send>;

    /// Returns the text of a failure of the set-up, if it is sent as text.
    fn setup_text(_: &dyn Any) -> ShownError {
        None
    }

    /// Returns the text of the failure of one item, if it is sent as text.
    fn item_text(_: &dyn Any) -> ShownError {
        None
    }
}
