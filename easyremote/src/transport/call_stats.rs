//! Statistics of the calls on a managed connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::transport::connection::ManagedConnection;
use crate::transport::io::IoTask;
use crate::transport::log_limit::Brief;
use crate::wire::kind::Kind;

/// Counters of the calls made over a [`ManagedConnection`].
#[derive(Debug, Default)]
pub(crate) struct CallStats {
    /// Calls in flight.
    pub(crate) in_flight: AtomicU64,
    /// Calls in flight that return a stream.
    pub(crate) streams: AtomicU64,
    /// Calls started since the start.
    pub(crate) calls: AtomicU64,
    /// Attempts since the start that were not the first of their call.
    pub(crate) retries: AtomicU64,
    /// Fields that were left out of answers to lossy calls.
    pub(crate) left_out: Arc<AtomicU64>,
}

/// Counts a call as in flight until it is dropped.
#[derive(Debug)]
pub(crate) struct CallGuard {
    link: Arc<ManagedConnection>,
    gives_stream: bool,
}

impl CallGuard {
    pub(crate) fn new(link: &Arc<ManagedConnection>, kind: Kind) -> Self {
        let gives_stream = kind.gives_stream();
        let tally = &link.tally;
        tally.calls.fetch_add(1, Ordering::Relaxed);
        tally.in_flight.fetch_add(1, Ordering::Relaxed);
        if gives_stream {
            tally.streams.fetch_add(1, Ordering::Relaxed);
        }
        Self { link: link.clone(), gives_stream }
    }

    /// Runs `call` beside its connection, and counts it until it has ended or is aborted.
    pub(crate) fn spawn<F>(self, call: F) -> IoTask<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let link = self.link.clone();
        link.spawn(async move {
            let _counted = self;
            call.await
        })
    }
}

impl Drop for CallGuard {
    fn drop(&mut self) {
        let tally = &self.link.tally;
        tally.in_flight.fetch_sub(1, Ordering::Relaxed);
        if self.gives_stream {
            tally.streams.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl ManagedConnection {
    /// Returns the counters of its calls.
    pub(crate) fn tally(&self) -> &CallStats {
        &self.tally
    }

    /// Records that a call is retried, `pause` after it failed with `error`.
    pub(crate) fn note_retry(&self, error: &Error, pause: Duration) {
        self.tally.retries.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(error = %Brief(error.chain()), ?pause, "retrying a call");
    }

    /// Logs that a stream of `function` is resumed after `error`.
    pub(crate) fn note_resumption(&self, error: &Error, function: &str) {
        tracing::debug!(error = %Brief(error.chain()), function, "resuming a stream");
    }
}
