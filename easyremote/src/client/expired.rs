//! What ends a call before its answer does.

use std::future::Future;

use tokio::time::{Instant, sleep_until};

use crate::error::{Error, ErrorKind};
use crate::function::context::Scope;

/// Why a call is not waited for any more.
pub(super) enum Expired {
    Late,
    Cancelled,
}

impl Expired {
    /// What the caller of `function` gets instead of an answer.
    pub(super) fn error(self, function: &str) -> Error {
        match self {
            Self::Late => {
                let text = format!("the deadline of `{function}` passed");
                Error::new(ErrorKind::DeadlineExceeded, text)
            }
            Self::Cancelled => {
                let text = format!("the call for which `{function}` was called is over");
                Error::new(ErrorKind::Cancelled, text)
            }
        }
    }
}

/// Waits for `future`, until `deadline` and for as long as `scope` lasts, if there are such.
pub(super) async fn with_deadline<F: Future>(
    deadline: Option<Instant>,
    scope: Option<Scope>,
    future: F,
) -> Result<F::Output, Expired> {
    if deadline.is_none() && scope.is_none() {
        return Ok(future.await);
    }
    let late = async {
        match deadline {
            Some(deadline) => sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let cancelled = async {
        match &scope {
            Some(scope) => scope.cancelled.cancelled().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        output = future => Ok(output),
        () = late => Err(Expired::Late),
        () = cancelled => Err(Expired::Cancelled),
    }
}
