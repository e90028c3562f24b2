//! Sends the stream of a function, through the operators that its caller has set.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, Stream, StreamExt};
use pollster::block_on;

use crate::call::demand::Demand;
use crate::function::context::Context;
use crate::function::item_writer::ItemWriter;
use crate::function::operators::applied::RunningOperator;
use crate::function::operators::chain::OperatorChain;
use crate::function::operators::gate::Gate;
use crate::function::operators::piece::ItemForm;
use crate::function::operators::run::{Sink, produced};
use crate::function::outcome::{Outcome, Sent};
use crate::function::remote::RemoteStream;
use crate::wire::operators::Operator;

/// Sends the items of a function's stream.
#[derive(Debug)]
pub struct StreamSink<F> {
    writer: ItemWriter,
    /// Maximum number of items that the caller wants.
    limit: usize,
    /// The operators that the caller has set; boxed, because few set any.
    operated: Option<Box<Operated>>,
    function: PhantomData<fn() -> F>,
}

/// What a stream with operators has besides its writer.
#[derive(Debug)]
struct Operated {
    form: ItemForm,
    operators: Vec<Operator>,
    running: Vec<RunningOperator>,
    /// Whether the stream can start again at another node.
    restarts: bool,
    demand: Option<Arc<Demand>>,
}

type SetupFailure<F> = <<F as RemoteStream>::Setup as Outcome>::RawFailure;
type RawItem<F> = <<F as RemoteStream>::Item as Outcome>::Raw;
type SentItem<F> = Result<
    <<F as RemoteStream>::Item as Outcome>::Value,
    Sent<<<F as RemoteStream>::Item as Outcome>::Failure>,
>;

type OperatedSink<F> = Sink<
    <<F as RemoteStream>::Item as Outcome>::Value,
    Sent<<<F as RemoteStream>::Item as Outcome>::Failure>,
>;

impl<F: RemoteStream> StreamSink<F> {
    /// `running` are the functions that the operators apply, in order.
    pub(super) fn new(
        writer: ItemWriter,
        context: &Context,
        demand: Option<Arc<Demand>>,
        running: Vec<RunningOperator>,
    ) -> Self {
        let limit = context.limit().map(|items| usize::try_from(items).ok());
        let operated = (!context.operators().is_empty()).then(|| {
            let form = writer.form(F::signature().value);
            let operators = context.operators().to_vec();
            let restarts = context.is_resumable();
            Box::new(Operated { form, operators, running, restarts, demand })
        });
        let limit = limit.flatten().unwrap_or(usize::MAX);
        Self { writer, limit, operated, function: PhantomData }
    }

    /// Sends each item of an iterator when it is produced. Items that the I/O task has not
    /// fetched yet are sent in one batch.
    pub fn iterate<I>(self, setup: Result<I, SetupFailure<F>>)
    where
        I: Iterator<Item = RawItem<F>>,
    {
        let mut writer = self.writer;
        let iterator = match setup {
            Ok(iterator) => iterator,
            Err(failure) => {
                let of = F::signature().setup_failure;
                return block_on(writer.fault(of, F::Setup::sent(failure, F::setup_text)));
            }
        };
        writer.open();
        if block_on(writer.flush()).is_err() {
            return;
        }
        if let Some(operated) = self.operated {
            return operated.sink::<F>(writer).iterate(iterator.map(sent_item::<F>));
        }
        let types = F::signature();
        for raw in iterator.take(self.limit) {
            if let Err(error) = writer.item(types, &sent_item::<F>(raw)) {
                return block_on(writer.fail(&error));
            }
            if block_on(writer.flush()).is_err() {
                return;
            }
        }
        block_on(writer.end());
    }

    /// Sends the items of a stream, as [`iterate`](Self::iterate) does for an iterator.
    // Not an `async fn`: for a stream that is not `Send`, the compiler then reports one error, not
    // two.
    pub fn forward<'a, S>(self, setup: Result<S, SetupFailure<F>>) -> BoxFuture<'a, ()>
    where
        S: Stream<Item = RawItem<F>> + Send + 'a,
    {
        match setup {
            Ok(stream) => match self.operated {
                None => forward::<F, _>(stream.take(self.limit), self.writer).boxed(),
                Some(operated) => operated.forward::<F, _>(stream, self.writer).boxed(),
            },
            Err(failure) => {
                let of = F::signature().setup_failure;
                self.writer.fault(of, F::Setup::sent(failure, F::setup_text)).boxed()
            }
        }
    }
}

impl Operated {
    fn sink<F: RemoteStream>(self, writer: ItemWriter) -> OperatedSink<F> {
        let gate = Gate::new(&self.operators, self.demand.as_ref());
        let chain = OperatorChain::new(&self.operators, self.running, self.form);
        let chain = if self.restarts { chain.counting_each() } else { chain };
        Sink { chain, gate, writer, put: |writer, item| writer.item(F::signature(), &item) }
    }

    async fn forward<F, S>(self, stream: S, mut writer: ItemWriter)
    where
        F: RemoteStream,
        S: Stream<Item = RawItem<F>> + Send,
    {
        writer.open();
        if writer.flush().await.is_err() {
            return;
        }
        let mut stream = pin!(stream);
        let source = |context: &mut std::task::Context<'_>| {
            stream.as_mut().poll_next(context).map(|raw| produced(raw.map(sent_item::<F>)))
        };
        self.sink::<F>(writer).run(source).await;
    }
}

/// Converts one item to the form that is sent.
fn sent_item<F: RemoteStream>(raw: RawItem<F>) -> SentItem<F> {
    F::Item::split(raw).map_err(|failure| F::Item::sent(failure, F::item_text))
}

async fn forward<F, S>(stream: S, mut writer: ItemWriter)
where
    F: RemoteStream,
    S: Stream<Item = RawItem<F>> + Send,
{
    let mut stream = pin!(stream);
    let types = F::signature();
    writer.open();
    if writer.flush().await.is_err() {
        return;
    }
    loop {
        let item = match stream.next().now_or_never() {
            Some(item) => item,
            None => {
                // The item may be long in coming: others may use its memory meanwhile.
                writer.unreserve();
                match select(stream.next(), pin!(writer.closed())).await {
                    Either::Left((item, _)) => item,
                    Either::Right(_) => return,
                }
            }
        };
        let Some(raw) = item else { return writer.end().await };
        if let Err(error) = writer.item(types, &sent_item::<F>(raw)) {
            return writer.fail(&error).await;
        }
        // After every item: a stream that blocks instead of being pending may be slow too.
        if writer.flush().await.is_err() {
            return;
        }
        // A stream that is always ready must yield to other tasks, and stay abortable.
        tokio::task::coop::consume_budget().await;
    }
}
