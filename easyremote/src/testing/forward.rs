//! Sends the stream of a mocked function.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, ready};

use futures::future::{Either, select};
use futures::{FutureExt, Stream, StreamExt};
use parking_lot::Mutex;

use crate::function::item_writer::ItemWriter;
use crate::function::operators::applied::RunningOperator;
use crate::function::operators::chain::OperatorChain;
use crate::function::operators::gate::Gate;
use crate::function::operators::piece::{After, Flow};
use crate::function::operators::run::{Put, Sink};
use crate::function::outcome::Sent;
use crate::function::remote::RemoteStream;
use crate::testing::answer::{MockedFailure, MockedValue, Step};
use crate::testing::script::ReceivedCall;

/// A [`Step`] that several calls may use at a time; it need not be `Sync`.
pub(super) type MockCalls<F> = Arc<Mutex<Step<F>>>;

pub(super) fn shared<F: RemoteStream>(step: Step<F>) -> MockCalls<F> {
    Arc::new(Mutex::new(step))
}

/// Sends a stream of `steps`, or the refusal that the first one stands for.
pub(super) async fn forward<F: RemoteStream>(
    steps: impl Stream<Item = MockCalls<F>> + Send,
    received: ReceivedCall,
    mut writer: ItemWriter,
) {
    let mut steps = pin!(steps);
    let running = match received.start_operators() {
        Ok(running) => running,
        Err(refusal) => return writer.refuse(refusal).await,
    };
    // Polled once before the stream is opened: a first step that is ready may refuse it. If it is
    // pending, it is waited for below, after the caller has been told that the stream is open.
    let mut first = steps.next().now_or_never();
    if let Some(Some(step)) = &first {
        let refusal = step.lock().refusal(&received);
        if let Some(refusal) = refusal {
            return writer.refuse(refusal).await;
        }
    }
    writer.open();
    if writer.flush().await.is_err() {
        return;
    }
    if !received.context.operators().is_empty() {
        return operated::<F>(first, steps, &received, running, writer).await;
    }
    loop {
        let next = match first.take() {
            Some(next) => next,
            None => match select(steps.next(), pin!(writer.closed())).await {
                Either::Left((next, _)) => next,
                Either::Right(_) => return,
            },
        };
        let Some(step) = next else { return writer.end().await };
        let put = step.lock().put(&mut writer);
        if let Err(error) = put {
            return writer.fail(&error).await;
        }
        if writer.flush().await.is_err() {
            return;
        }
        // A stream that is always ready must yield to other tasks, and stay abortable.
        tokio::task::coop::consume_budget().await;
    }
}

/// Sends `first`, unless it has not come yet, and then `steps`, through the operators of the call.
async fn operated<F: RemoteStream>(
    mut first: Option<Option<MockCalls<F>>>,
    mut steps: Pin<&mut (impl Stream<Item = MockCalls<F>> + Send)>,
    received: &ReceivedCall,
    running: Vec<RunningOperator>,
    writer: ItemWriter,
) {
    let form = writer.form(F::signature().value);
    let operators = received.context.operators();
    let put: Put<MockedValue<F>, MockCalls<F>> = |writer, item| match item {
        Ok(value) => writer.item(F::signature(), &Ok::<_, Sent<MockedFailure<F>>>(value)),
        Err(step) => step.lock().put(writer),
    };
    let gate = Gate::new(operators, received.demand.as_ref());
    let chain = OperatorChain::new(operators, running, form);
    let entry = chain.entry();
    let sink = Sink { chain, gate, writer, put };
    sink.run(move |context| {
        let next = match first.take() {
            Some(next) => next,
            None => ready!(steps.as_mut().poll_next(context)),
        };
        Poll::Ready(match next {
            None => Flow::After(After::End),
            Some(step) => step.lock().produced(&entry, step.clone()),
        })
    })
    .await;
}
