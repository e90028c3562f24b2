//! Functions of a node that are applied to the items of a stream.

use std::fmt;
use std::marker::PhantomData;

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::function::arguments::Arguments;
use crate::function::outcome::Value;
use crate::function::remote::{RemoteOperator, TakesItems};
use crate::wire::codec::Codec;
use crate::wire::limits::{MAX_APPLIED_DECODED, MAX_NAME};
use crate::wire::operators::AppliedFunction;

/// An operator with its arguments, for [`StreamCall::through`](crate::StreamCall::through). Returned by
/// the `with` of its stub: `hot::with(30.0)`.
///
/// ```
/// use easyremote::client::Applied;
/// use easyremote::remote;
///
/// #[remote(operator)]
/// fn hot(celsius: f64, limit: f64) -> Option<f64> {
///     (celsius > limit).then_some(celsius)
/// }
///
/// let applied: Applied<hot> = hot::with(30.0);
/// assert_eq!(format!("{applied:?}"), "Applied(hot)");
/// ```
#[must_use = "an operator does nothing until it is passed to `through` of a stream"]
pub struct Applied<O> {
    function: Result<AppliedFunction, Error>,
    operator: PhantomData<fn() -> O>,
}

/// Encodes the arguments of an operator. Generated stubs use it.
pub fn applied<O: RemoteOperator>(arguments: O::Arguments) -> Applied<O> {
    Applied { function: encoded::<O>(&arguments), operator: PhantomData }
}

fn encoded<O: RemoteOperator>(arguments: &O::Arguments) -> Result<AppliedFunction, Error> {
    let (name, signature) = (O::DESCRIPTOR.name, O::signature());
    let refuse = |text| Error::new(ErrorKind::InvalidInput, text);
    if let Some(why) = &signature.refused {
        return Err(refuse(format!("the operator `{name}` cannot be applied: {why}")));
    }
    let mut out = Vec::new();
    arguments.encode(&signature.arguments, &mut out, MAX_APPLIED_DECODED).map_err(|text| {
        refuse(format!("the arguments of the operator `{name}` cannot be encoded: {text}"))
    })?;
    let fingerprint = signature.fingerprint;
    Ok(AppliedFunction { name: name.to_owned(), fingerprint, arguments: out })
}

/// Encodes the arguments of an operator by name.
///
/// # Errors
/// `InvalidInput` if the name is too long, or the arguments cannot be encoded.
pub(in crate::client) fn named(
    name: String,
    arguments: &(impl Serialize + 'static),
) -> Result<AppliedFunction, Error> {
    if name.len() > MAX_NAME {
        let text = format!("the name of an operator is at most {MAX_NAME} bytes long");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let mut out = Vec::new();
    Codec::Json.encode(arguments, &mut out).map_err(|text| {
        let text = format!("the arguments of the operator `{name}` cannot be encoded: {text}");
        Error::new(ErrorKind::InvalidInput, text)
    })?;
    Ok(AppliedFunction { name, fingerprint: 0, arguments: out })
}

impl<O: RemoteOperator> fmt::Debug for Applied<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Applied({})", O::DESCRIPTOR.name)
    }
}

/// What can be applied to a stream whose items are `T`: an [`Applied`] operator that takes such items.
///
/// ```
/// use easyremote::client::{Applied, AppliesTo};
/// use easyremote::remote;
///
/// #[remote(operator)]
/// fn hot(celsius: &f64, limit: f64) -> bool {
///     *celsius > limit
/// }
///
/// fn is_filter<A: AppliesTo<f64, Output = f64>>(_: A) {}
/// is_filter(hot::with(30.0));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be applied to a stream of `{T}`",
    label = "not an operator of items of type `{T}`",
    note = "`through` takes a `#[remote(operator)]` function whose first parameter is the item, with \
            its further arguments: write `.through(hot::with(30.0))`"
)]
pub trait AppliesTo<T>: sealed::IntoFunction {
    /// The type of the items that it passes on.
    type Output: Value;
}

impl<T, O: TakesItems<T>> AppliesTo<T> for Applied<O> {
    type Output = O::Output;
}

mod sealed {
    use super::{Applied, AppliedFunction, Error};

    pub trait IntoFunction {
        /// Returns the function with its encoded arguments.
        #[allow(private_interfaces)]
        fn into_function(self) -> Result<AppliedFunction, Error>;
    }

    impl<O> IntoFunction for Applied<O> {
        #[allow(private_interfaces)]
        fn into_function(self) -> Result<AppliedFunction, Error> {
            self.function
        }
    }
}
