//! Hedged calls: a second call to another node if the first one is slow.
//!
//! ```text
//!   first -----------------------------------> its answer, or its error if there is no second
//!     | after a time, if the budget has a token
//!     +---> second, at another node ----------> its answer, if it is the first one
//! ```

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;

use crate::client::call::{Call, RawCall};
use crate::client::call_task::UnaryAnswer;
use crate::client::options::DeadlineSpec;
use crate::client::pending_call::{Hedge, PendingCall};
use crate::client::retry::{MAX_KEPT, Retry};
use crate::error::{Error, ErrorKind, Executed};
use crate::function::remote::{Idempotent, RemoteUnary};
use crate::transport::connection::ManagedConnection;
use crate::transport::io::IoTask;
use crate::wire::limits::MAX_TIMEOUT;
use crate::wire::routing_options::HedgeLeg;

impl<F: RemoteUnary> Call<F> {
    /// Makes the call a second time, at another node, if there is no answer `after` this time. The
    /// first answer counts, and the other call is cancelled.
    ///
    /// Use it against rare slow calls, with about the time that 95 % of the calls take. It needs a
    /// function that may run twice at a time: one with `#[remote(idempotent)]`.
    ///
    /// - **At most 5 % of the calls** that set this option are made twice. Each adds a twentieth of
    ///   a token to the client, which all its clones and handles share, and a second call takes one.
    ///   So the first one can come after 20 calls, and at most 10 tokens are saved up. A call that
    ///   finds no token goes on alone.
    /// - The second call goes to another node that has room now. If there is none, the first one
    ///   goes on alone. A client of several gateways whose second call takes another gateway may
    ///   reach the same node.
    /// - An error of one call does not end the other: the result is then that of the call that
    ///   still runs. If both fail, the error is that of the first, and
    ///   [`executed`](Error::executed) says what is known of both.
    /// - The first call is [retried](crate::Retry) as always, and the second one is not. Both share
    ///   the call's id and deadline. [`Context::attempt`](crate::Context::attempt) and
    ///   [`Trace::attempts`](crate::client::Trace::attempts) count the second as an attempt, and
    ///   [`Trace::hedged`](crate::client::Trace::hedged) says if it answered.
    /// - Arguments of more than 1 MiB are not kept, and such a call is not hedged.
    ///
    /// It has to be set before the first poll. A call with [`on`](Self::on), a [`key`](Self::key) or
    /// a client stream, one that is [spawned](Self::spawn), and a call of a `detached` function, fails
    /// with [`ErrorKind::InvalidInput`], [`Executed::No`].
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// use std::time::Duration;
    ///
    /// #[remote(idempotent)]
    /// fn look_up(key: String) -> usize {
    ///     key.len()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![look_up]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let call = look_up::call(&client, "a key".into()).hedge(Duration::from_millis(20));
    /// assert_eq!(call.await?, 5);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "tail latency")]
    #[doc(alias = "backup request")]
    #[doc(alias = "speculative")]
    pub fn hedge(mut self, after: Duration) -> Self
    where
        F: Idempotent,
    {
        let is_detached = F::DESCRIPTOR.detached;
        self.raw.change(|pending| pending.hedge = Some(Hedge { after, is_detached }));
        self
    }
}

/// A call that is made a second time if it is slow.
pub(super) struct HedgedCall {
    /// `None` once it has failed.
    first: Option<RawCall>,
    timer: Option<IoTask<()>>,
    /// The second call before it is made.
    spare: Option<Box<PendingCall>>,
    second: Option<RawCall>,
    /// The error of the first call.
    failed: Option<Error>,
    /// Whether the second call may have run, if it has failed.
    executed: Executed,
    link: Arc<ManagedConnection>,
}

impl HedgedCall {
    /// Starts the first call, and the time until the second.
    ///
    /// # Errors
    /// `InvalidInput` if other options exclude it; those of the call.
    pub(super) fn start(mut pending: Box<PendingCall>, hedge: Hedge) -> Result<Self, Error> {
        check(hedge, &pending)?;
        let link = pending.client.link.clone();
        let mut spare = pending.again().filter(|spare| spare.body.len() <= MAX_KEPT);
        pending.options.routing.hedge = Some(HedgeLeg::First);
        pending.freeze()?;
        link.hedges.note_call();
        if let Some(spare) = &mut spare {
            spare.header.id = pending.header.id;
            spare.header.attempt = 1;
            spare.header.trace_context = pending.header.trace_context.clone();
            spare.span = pending.span.clone();
            if let Some(deadline) = pending.deadline {
                spare.options.until = DeadlineSpec::At(deadline);
            }
            spare.options.retry = Some(Retry::never());
            spare.options.routing.hedge = Some(HedgeLeg::Second);
            spare.options.routing.wait = false;
        }
        // On the client's I/O tasks, since the caller's executor need not have timers.
        let after = hedge.after.min(MAX_TIMEOUT);
        let timer = spare.is_some().then(|| link.spawn(async move { sleep(after).await }));
        Ok(Self {
            first: Some(RawCall::frozen(pending)),
            timer,
            spare: spare.map(Box::new),
            second: None,
            failed: None,
            executed: Executed::No,
            link,
        })
    }

    /// Polls both calls.
    ///
    /// # Panics
    /// If it is polled after it has returned a result.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<UnaryAnswer, Error>> {
        if let Some(first) = &mut self.first
            && let Poll::Ready(result) = first.poll(context)
        {
            self.first = None;
            match result {
                Err(error) if self.second.is_some() => self.failed = Some(error),
                result => return Poll::Ready(self.joined(result)),
            }
        }
        self.poll_timer(context);
        let Some(second) = &mut self.second else { return Poll::Pending };
        let Poll::Ready(result) = second.poll(context) else { return Poll::Pending };
        self.second = None;
        match (result, self.failed.take()) {
            (Ok(mut answer), _) => {
                if let Some(trace) = &mut answer.trace {
                    trace.hedged = true;
                }
                Poll::Ready(Ok(answer))
            }
            (Err(error), failed) => {
                self.executed = error.executed();
                match failed {
                    Some(failed) => Poll::Ready(self.joined(Err(failed))),
                    None => Poll::Pending,
                }
            }
        }
    }

    /// Makes the second call if it is time, and the budget allows it.
    fn poll_timer(&mut self, context: &mut Context<'_>) {
        if let Some(timer) = &mut self.timer
            && let Poll::Ready(elapsed) = Pin::new(timer).poll(context)
        {
            self.timer = None;
            let spare = self.spare.take();
            // The timer is dropped without an end when the client is closed.
            if elapsed.is_some() && self.link.hedges.take() {
                self.second = spare.map(|spare| RawCall::new(Ok(*spare)));
            }
        }
    }

    /// Returns the result of the first call; an error says what is known of both.
    fn joined(&self, result: Result<UnaryAnswer, Error>) -> Result<UnaryAnswer, Error> {
        result.map_err(|error| {
            let executed = error.executed().or(self.executed);
            error.with_executed(executed)
        })
    }
}

/// Checks that the call can be made twice.
///
/// # Errors
/// `InvalidInput` if it cannot.
fn check(hedge: Hedge, pending: &PendingCall) -> Result<(), Error> {
    let why = if pending.options.routing.on.is_some() {
        "`on` allows one node only: leave one of the two out"
    } else if pending.upload.is_some() {
        "its client stream can be sent only once"
    } else if hedge.is_detached {
        "it is `detached`, so that the slower call would not be cancelled"
    } else if pending.header.key.is_some() {
        "all calls with its `key` are one run"
    } else if pending.header.job.is_some() {
        "a job is spawned once"
    } else {
        return Ok(());
    };
    let function = &pending.header.function;
    let text = format!("cannot hedge a call of `{function}`: {why}");
    Err(Error::new(ErrorKind::InvalidInput, text))
}

impl fmt::Debug for HedgedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = (&self.first, &self.second);
        f.debug_struct("HedgedCall").field("first", first).field("second", second).finish()
    }
}
