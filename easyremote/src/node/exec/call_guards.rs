//! What can end a call before its function does.

use std::future::Future;

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use crate::error::Error;
use crate::transport::quic::stream::Stopped;

/// What can end a call before its function does.
pub(crate) struct CallGuards {
    /// Resolves when the caller has given the call up.
    pub(crate) stopped: Stopped,
    pub(crate) deadline: Option<Instant>,
    /// Receives the caller's stream, if the function takes one; resolves when that goes wrong.
    pub(crate) receiving: Option<BoxFuture<'static, Interrupt>>,
}

/// How a wait for the user's code ended, if not with a result.
pub(crate) enum Interrupt {
    /// The caller has left.
    Gone,
    /// The deadline has passed.
    Late,
    /// What the caller sent after its arguments is no stream of its kind.
    Failed(Error),
}

impl CallGuards {
    /// Waits for what the function gives, unless the call is over first.
    ///
    /// What comes after the deadline is too late, also if the timer has not fired yet: a function
    /// that hands on that a call of its own was late, which has its deadline, would otherwise win
    /// against it now and then.
    pub(crate) async fn in_time<F: Future>(&mut self, future: F) -> Result<F::Output, Interrupt> {
        let output = self.unless(future).await?;
        match self.deadline {
            Some(deadline) if deadline <= Instant::now() => Err(Interrupt::Late),
            _ => Ok(output),
        }
    }

    /// Waits for `future`, unless the call is over first.
    pub(crate) async fn unless<F: Future>(&mut self, future: F) -> Result<F::Output, Interrupt> {
        let late = async {
            match self.deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let receiving = async {
            match &mut self.receiving {
                Some(receiving) => receiving.await,
                None => std::future::pending().await,
            }
        };
        let interrupt = tokio::select! {
            biased;
            output = future => return Ok(output),
            _ = &mut self.stopped => Interrupt::Gone,
            interrupt = receiving => interrupt,
            () = late => Interrupt::Late,
        };
        // It may have been what has ended, and there is an answer to wait for still.
        self.receiving = None;
        Err(interrupt)
    }
}
