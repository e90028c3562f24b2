//! Waits on a call's separate stream that end early when the call does.

use std::future::{Future, pending};

use futures::future::BoxFuture;
use tokio::time::Instant;

use crate::call::deadline::{has_passed, passes};
use crate::error::Error;
use crate::transport::quic::stream::Stopped;

/// The events that end a wait on a call's separate stream.
pub(super) struct CallGuards {
    /// Resolves when the caller has given up the call.
    pub(super) stopped: Stopped,
    pub(super) deadline: Option<Instant>,
    /// Receives the caller's stream, if the function takes one; resolves only if that fails.
    pub(super) receiving: Option<BoxFuture<'static, Interrupt>>,
}

/// Why a wait ended without a result.
pub(super) enum Interrupt {
    /// The caller has left.
    Gone,
    /// The deadline has passed.
    Late,
    /// What the caller sent after its arguments is invalid.
    Failed(Error),
}

impl CallGuards {
    /// Waits for an item of the function, unless the call ends first.
    ///
    /// An item after the deadline is late even if the timer has not fired yet: a nested call has
    /// the same deadline, and a function that returns that call's error would otherwise race with
    /// the timer.
    pub(super) async fn with_deadline<F: Future>(
        &mut self,
        future: F,
    ) -> Result<F::Output, Interrupt> {
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
            // A result that is ready wins over an end of the call at the same time.
            biased;
            output = future => Ok(output),
            interrupt = self.left_or_failed() => Err(interrupt),
            () = passes(deadline) => Err(Interrupt::Late),
        }
    }

    /// Resolves when the caller leaves, or sends something invalid.
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
        // `receiving` may have completed and must not be polled again: the guards are used further,
        // to send the response.
        self.receiving = None;
        interrupt
    }
}
