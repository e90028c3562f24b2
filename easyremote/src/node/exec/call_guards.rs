//! What ends the wait for a call on a stream of its own.

use std::future::{Future, pending};

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::call::deadline::{has_passed, passes};
use crate::error::Error;
use crate::transport::quic::stream::Stopped;

/// What can end the wait for a call on a stream of its own.
pub(super) struct CallGuards {
    /// Resolves when the caller has given the call up.
    pub(super) stopped: Stopped,
    pub(super) deadline: Option<Instant>,
    /// Receives the caller's stream, if the function takes one; resolves when that goes wrong.
    pub(super) receiving: Option<BoxFuture<'static, Interrupt>>,
}

/// Why a wait ended without a result.
pub(super) enum Interrupt {
    /// The caller has left.
    Gone,
    /// The deadline has passed.
    Late,
    /// What the caller sent after its arguments breaks the rules.
    Failed(Error),
}

impl CallGuards {
    /// Waits for an item of the function, unless the call ends first.
    ///
    /// What comes after the deadline is too late, also if the timer has not fired yet: a function
    /// that passes on that a nested call was late, which has the same deadline, would otherwise win
    /// against it now and then.
    pub(super) async fn in_time<F: Future>(&mut self, future: F) -> Result<F::Output, Interrupt> {
        let output = self.select(future).await?;
        match has_passed(self.deadline) {
            true => Err(Interrupt::Late),
            false => Ok(output),
        }
    }

    /// Waits for `future`, unless the call ends first.
    pub(super) async fn select<F: Future>(&mut self, future: F) -> Result<F::Output, Interrupt> {
        let deadline = self.deadline;
        tokio::select! {
            biased;
            output = future => Ok(output),
            interrupt = self.left_or_failed() => Err(interrupt),
            () = passes(deadline) => Err(Interrupt::Late),
        }
    }

    /// Resolves when the caller leaves or breaks the rules.
    pub(super) async fn left_or_failed(&mut self) -> Interrupt {
        let receiving = async {
            match &mut self.receiving {
                Some(receiving) => receiving.await,
                None => pending().await,
            }
        };
        let interrupt = tokio::select! {
            biased;
            _ = &mut self.stopped => Interrupt::Gone,
            interrupt = receiving => interrupt,
        };
        // Whichever it was, `receiving` may have ended, and a response is still to be sent.
        self.receiving = None;
        interrupt
    }
}
