//! Polls a chain of operators, and writes what comes out of it.

use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::{Either, select};
use pollster::block_on;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::function::item_writer::ItemWriter;
use crate::function::operators::chain::OperatorChain;
use crate::function::operators::gate::Gate;
use crate::function::operators::piece::{After, Flow, Piece};
use crate::function::outcome::Value;
use crate::transport::byte_channel::Closed;

/// How an item of the function, or the error in place of one, is written.
pub(crate) type Put<V, X> = fn(&mut ItemWriter, Result<V, X>) -> Result<(), Error>;

/// A chain of operators, and what is behind it.
pub(crate) struct Sink<V, X> {
    pub(crate) chain: OperatorChain<V, X>,
    pub(crate) gate: Option<Gate>,
    pub(crate) writer: ItemWriter,
    pub(crate) put: Put<V, X>,
}

/// Returns what the function has produced, or the end of its stream, as it enters a chain.
pub(crate) fn produced<V, X>(item: Option<Result<V, X>>) -> Flow<V, X> {
    match item {
        Some(Ok(value)) => Flow::Item(Piece::Value(value)),
        Some(Err(fault)) => Flow::After(After::Fault(fault)),
        None => Flow::After(After::End),
    }
}

impl<V: Value, X> Sink<V, X> {
    /// Writes what comes out of the chain until the stream ends, or its caller leaves. The stream is
    /// open already.
    pub(crate) async fn run(
        mut self,
        mut source: impl FnMut(&mut Context<'_>) -> Poll<Flow<V, X>>,
    ) {
        let mut skipped = 0;
        loop {
            if self.chain.is_over() {
                return self.writer.end().await;
            }
            if self.pass_gate(&mut source).await.is_err() {
                return;
            }
            let Ok(flow) = self.next(&mut source).await else { return };
            if self.chain.skipped() > skipped {
                skipped = self.chain.skipped();
                self.writer.skipped(skipped, self.chain.skipped_by_each());
            }
            let put = match flow {
                Flow::Item(Piece::Value(value)) => (self.put)(&mut self.writer, Ok(value)),
                Flow::Item(Piece::Encoded(item)) => self.writer.encoded(&item.bytes),
                Flow::After(After::Fault(fault)) => (self.put)(&mut self.writer, Err(fault)),
                Flow::After(After::Broken(error)) => Err(self.writer.located(error)),
                Flow::After(After::End) => return self.writer.end().await,
            };
            if let Err(error) = put {
                return self.writer.fail(&error).await;
            }
            if let Some(gate) = &mut self.gate {
                gate.note_sent(self.writer.last_length() as u64);
            }
            if self.flush(&mut source).await.is_err() {
                return;
            }
            // A stream that is always ready must yield to other tasks, and stay abortable.
            tokio::task::coop::consume_budget().await;
        }
    }

    /// Waits until the reader has taken enough.
    async fn pass_gate(
        &mut self,
        source: &mut impl FnMut(&mut Context<'_>) -> Poll<Flow<V, X>>,
    ) -> Result<(), Closed> {
        let Self { chain, gate, writer, .. } = self;
        let Some(gate) = gate else { return Ok(()) };
        let Some(needed) = gate.needed() else { return Ok(()) };
        writer.unreserve();
        let demand = gate.demand();
        let (mut taken, mut allowed) =
            (pin!(demand.above(needed - 1)), pin!(demand.allows(needed)));
        let waiting = poll_fn(|context| {
            chain.pump(&mut *source, context);
            // A function that is not held up reads what is in the way of the reader's word.
            if !chain.pumps() && allowed.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            taken.as_mut().poll(context).map(drop)
        });
        match select(waiting, pin!(writer.closed())).await {
            Either::Left(_) => Ok(()),
            Either::Right(_) => Err(Closed),
        }
    }

    /// Waits for what comes out of the chain next.
    async fn next(
        &mut self,
        source: &mut impl FnMut(&mut Context<'_>) -> Poll<Flow<V, X>>,
    ) -> Result<Flow<V, X>, Closed> {
        let Self { chain, writer, .. } = self;
        let mut poll = |writer: &ItemWriter, context: &mut Context<'_>| {
            let polled = chain.poll(&mut *source, context);
            writer.hold(chain.held());
            polled
        };
        if let Some(flow) = poll_fn(|context| poll(writer, context)).now_or_never() {
            return Ok(flow);
        }
        // The item may be long in coming: others may use its memory meanwhile.
        writer.unreserve();
        let next = poll_fn(|context| poll(writer, context));
        match select(next, pin!(writer.closed())).await {
            Either::Left((flow, _)) => Ok(flow),
            Either::Right(_) => Err(Closed),
        }
    }

    /// Hands over what has been written. Applies back-pressure, but not to a function whose items
    /// an operator replaces with newer ones.
    async fn flush(
        &mut self,
        source: &mut impl FnMut(&mut Context<'_>) -> Poll<Flow<V, X>>,
    ) -> Result<(), Closed> {
        let Self { chain, writer, .. } = self;
        let mut flushing = pin!(writer.flush());
        poll_fn(|context| {
            let flushed = flushing.as_mut().poll(context);
            if flushed.is_pending() {
                chain.pump(&mut *source, context);
            }
            flushed
        })
        .await
    }
}

impl<V: Value, X: Send + 'static> Sink<V, X> {
    /// Sends the items of an iterator, from its thread.
    pub(crate) fn iterate(self, mut items: impl Iterator<Item = Result<V, X>>) {
        if !self.chain.needs_runtime() {
            return block_on(self.run(|_| Poll::Ready(produced(items.next()))));
        }
        // Timers must fire, and newer items replace older ones, while the iterator blocks: the
        // chain runs in a task.
        let (sender, mut receiver) = mpsc::channel(1);
        let running = Handle::current().spawn(self.run(move |context| {
            match receiver.poll_recv(context) {
                Poll::Ready(Some(item)) => Poll::Ready(produced(item)),
                // The iterator has panicked, and this task is about to be aborted.
                Poll::Ready(None) | Poll::Pending => Poll::Pending,
            }
        }));
        let running = Owned(running);
        // An error means that the chain wants no more items.
        let send = |item| block_on(sender.send(item)).is_ok();
        if items.all(|item| send(Some(item))) {
            send(None);
        }
        if let Err(cause) = block_on(running)
            && let Ok(panic) = cause.try_into_panic()
        {
            resume_unwind(panic);
        }
    }
}

/// A task that ends with its owner.
struct Owned(JoinHandle<()>);

impl Future for Owned {
    type Output = Result<(), tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(context)
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}
