//! Why a call ended before its answer arrived.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::call::deadline::{DeadlinePassed, has_passed, late, within};
use crate::error::{Error, ErrorKind};
use crate::function::context::Scope;

/// Why a call ended before its answer arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expired {
    /// Its deadline passed.
    Late,
    /// It is a nested call, and its enclosing call has ended.
    Cancelled,
}

impl Expired {
    /// Checks a call with this `deadline`, nested in the call of `scope`, against the clock.
    ///
    /// # Errors
    /// Why the call has expired, if it has.
    pub(super) fn check(deadline: Option<Instant>, scope: Option<&Scope>) -> Result<(), Self> {
        if has_passed(deadline) {
            return Err(Self::Late);
        }
        match scope.is_some_and(|scope| scope.cancelled.is_cancelled()) {
            true => Err(Self::Cancelled),
            false => Ok(()),
        }
    }

    /// Returns the error of an expired call of `function`; `limit` is the time that it had.
    pub(super) fn error(self, function: &str, limit: Option<Duration>) -> Error {
        match self {
            Self::Late => late(format_args!("the deadline of `{function}` passed"), limit),
            Self::Cancelled => {
                let text = format!(
                    "the call of `{function}` was cancelled: the call that made it has ended"
                );
                Error::new(ErrorKind::Cancelled, text)
            }
        }
    }
}

/// Waits for `future` until the deadline passes or the call of `scope` ends.
///
/// # Errors
/// Why the call expired; `future` has been dropped then.
pub(super) async fn unless_expired<F: Future>(
    deadline: Option<Instant>,
    scope: Option<Scope>,
    future: F,
) -> Result<F::Output, Expired> {
    let bounded = async { within(deadline, future).await.map_err(|DeadlinePassed| Expired::Late) };
    let Some(scope) = scope else { return bounded.await };
    // The output first: a call whose answer is ready has not been cancelled.
    tokio::select! {
        biased;
        output = bounded => output,
        () = scope.cancelled.cancelled() => Err(Expired::Cancelled),
    }
}
