//! A call that also tells how it went.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::client::call::{Call, result};
use crate::client::call_task::UnaryAnswer;
use crate::client::options::{Options, options};
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::wire::trace::NodeTrace;

/// How a call went, from [`Call::traced`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// The id of the node that ran it.
    pub node: String,
    /// How often it was sent, the last and successful time included; see
    /// [`Retry`](crate::Retry).
    pub attempts: u64,
    /// How long it waited for a place to run: at the gateway for a node, and at the node.
    pub queued: Duration,
    /// How long the node took from then until it had the answer.
    pub ran: Duration,
}

impl Trace {
    pub(super) fn new(node: Option<NodeTrace>, attempts: u64) -> Self {
        // A node that says nothing breaks no rule that would be worth losing the result for.
        let none = NodeTrace { node: String::new(), queued: Duration::ZERO, ran: Duration::ZERO };
        let NodeTrace { node, queued, ran } = node.unwrap_or(none);
        Self { node, attempts, queued, ran }
    }
}

/// A [`Call`] that gives its result together with a [`Trace`]; from [`Call::traced`].
///
/// # Cancel safety
/// As for [`Call`].
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct TracedCall<F: RemoteUnary> {
    call: Call<F>,
}

impl<F: RemoteUnary> TracedCall<F> {
    pub(super) fn new(call: Call<F>) -> Self {
        Self { call }
    }

    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        self.call.set(change);
    }
}

options!(impl<F: RemoteUnary> TracedCall<F>);

impl<F: RemoteUnary> Future for TracedCall<F> {
    type Output = Result<(<F::Output as Outcome>::Value, Trace), <F::Output as Outcome>::Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.call.poll_answer(context).map(|answer| {
            let UnaryAnswer { frame, trace } = answer?;
            let value = result::<F>(&frame)?;
            Ok((value, trace.map_or_else(|| Trace::new(None, 1), |trace| *trace)))
        })
    }
}
