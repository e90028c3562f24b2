//! A call that also tells how it went.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::client::call::{Call, result};
use crate::client::call_task::UnaryAnswer;
use crate::client::options::{Options, options};
use crate::client::trace::Trace;
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;

impl<F: RemoteUnary> Call<F> {
    /// Lets the call give a [`Trace`] beside its result: which node ran it, and how long that took.
    /// To be asked for before the first poll; later nothing is known but zeros.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let (sum, trace) = add::call(&client, 1, 2).traced().await?;
    /// println!("{sum} from {} in {:?}, after {:?}", trace.node, trace.ran, trace.queued);
    /// # Ok(())
    /// # }
    /// ```
    pub fn traced(mut self) -> TracedCall<F> {
        self.raw.change(|prepared| prepared.header.traced = true);
        TracedCall::new(self)
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
    fn new(call: Call<F>) -> Self {
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
        let max_decoded = self.call.raw.max_decoded;
        self.call.raw.poll(context).map(|answer| {
            let UnaryAnswer { frame, trace } = answer?;
            let value = result::<F>(&frame, max_decoded)?;
            Ok((value, trace.map_or_else(|| Trace::new(None, 1), |trace| *trace)))
        })
    }
}
