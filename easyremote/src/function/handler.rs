//! Handlers: functions with erased types, ready to be run by a node.
//!
//! Generated code calls one of the constructors below with a closure that captures nothing. The
//! logic that depends on the function's types is here, the rest is in `node::exec`.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, Stream, StreamExt};
use pollster::block_on;
use tokio_util::sync::ReusableBoxFuture;

use crate::call::demand::Demand;
use crate::call::executed::Evidence;
use crate::decode::Budget;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::{decode, no_room};
use crate::function::batch::BatchFunction;
use crate::function::context::Context;
use crate::function::execution_policy::ExecutionPolicy;
use crate::function::item_writer::{ItemWriter, put_fault, put_value};
use crate::function::operators::chain::OperatorChain;
use crate::function::operators::gate::Gate;
use crate::function::operators::piece::ItemForm;
use crate::function::operators::run::{Sink, produced};
use crate::function::outcome::{Outcome, Sent};
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};
use crate::function::states::{State, StateType};
use crate::function::upload::{RawUpload, Upload, Uploaded};
use crate::gauge::MemoryCharge;
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::frame::FrameKind;
use crate::wire::limits::MessageLimits;
use crate::wire::operators::Operator;

/// One call with its encoded arguments.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) codec: Codec,
    /// The arguments; decoding takes the bytes and frees their memory.
    pub(crate) body: Body,
    /// Limits of the arguments, of the answer, and of each item.
    pub(crate) limits: MessageLimits,
    pub(crate) context: Context,
    /// An empty buffer for the answer, which may have memory.
    pub(crate) reply: Reply,
}

/// Encoded arguments and their memory charge: for the bytes, and once they are decoded for the
/// values, until the function has ended.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) charge: Option<MemoryCharge>,
}

/// The encoded frames that answer a call.
pub(crate) type Reply = Vec<u8>;

/// The inputs of a function besides its arguments.
#[derive(Debug)]
pub struct Inputs {
    pub(crate) context: Context,
    pub(crate) upload: Option<RawUpload>,
    /// What the reader of the function's stream has taken, if its caller tells.
    pub(crate) demand: Option<Arc<Demand>>,
}

impl Inputs {
    /// Returns the node's state of type `T`.
    ///
    /// # Panics
    /// If the node has no such state. It cannot happen: a node does not start without the states
    /// that its functions need.
    #[must_use]
    pub fn state<T: State>(&self) -> &T {
        self.context.states().get().expect("the node was started without the state")
    }

    /// Returns the receiver of a method: the instance that the caller has named, or the node's
    /// state.
    ///
    /// # Panics
    /// If the node has no such value. It cannot happen: a node offers a method only for the values
    /// that it has.
    #[must_use]
    pub fn receiver<T: State>(&self) -> &T {
        let value = self.context.states().instance(self.context.instance());
        value.expect("the node was started without the value")
    }

    /// Returns the context of the call.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Returns how many items of the function the reader has taken from earlier runs: the value of
    /// its `#[resume]` parameter.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.context.done_before()
    }

    /// Takes the caller's stream.
    ///
    /// # Panics
    /// If the function takes no stream, or if it was taken before. Generated code does neither.
    #[must_use]
    pub fn upload<T: Uploaded>(&mut self) -> Upload<T> {
        Upload::new(self.upload.take().expect("there is one stream per call"))
    }
}

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
    demand: Option<Arc<Demand>>,
}

/// A function with erased types.
#[derive(Clone)]
pub struct Handler {
    pub(crate) run: Run,
    /// The states that the node must have.
    pub(crate) states: Vec<StateType>,
    pub(crate) policy: ExecutionPolicy,
    /// For a method, the type of its receiver: the node's state of this type, or an instance.
    pub(crate) receiver: Option<StateType>,
}

impl Handler {
    pub(crate) fn new(run: Run) -> Self {
        Self { run, states: Vec::new(), policy: ExecutionPolicy::default(), receiver: None }
    }

    /// Makes it a method of `T`.
    #[must_use]
    pub fn needs_receiver<T: State>(mut self) -> Self {
        self.receiver = Some(StateType::of::<T>());
        self
    }

    /// Requires a state of type `T`.
    #[must_use]
    pub fn needs_state<T: State>(mut self) -> Self {
        self.states.push(StateType::of::<T>());
        self
    }

    /// Lets the function run on after its caller has left.
    #[must_use]
    pub fn detached(mut self) -> Self {
        self.policy.detached = true;
        self
    }

    /// Limits the calls of the function that run at a time on one node.
    #[must_use]
    pub fn concurrency(mut self, calls: u32) -> Self {
        self.policy.limit(calls);
        self
    }

    /// Sets how many bytes of a resumable stream the node keeps until its reader has taken them.
    #[must_use]
    pub fn replay(mut self, bytes: u64) -> Self {
        self.policy.replay = Some(bytes);
        self
    }

    /// Notes that the function has a `#[resume]` parameter.
    #[must_use]
    pub fn resumes(mut self) -> Self {
        self.policy.resumes = true;
        self
    }

    /// Sets the tags that a node must have to run the function.
    #[must_use]
    pub fn needs(mut self, tags: &'static [&'static str]) -> Self {
        self.policy.needs = tags;
        self
    }
}

/// A sync function with erased types.
pub(crate) type SyncRun = dyn Fn(Inputs, Request) -> Reply + Send + Sync;

/// An async function with erased types. It puts its future into the slot.
pub(crate) type AsyncRun = dyn Fn(Inputs, Request, &mut TaskSlot) + Send + Sync;

/// Where and how a handler runs.
#[derive(Clone)]
pub(crate) enum Run {
    /// On a blocking thread of the runtime.
    Blocking(Arc<SyncRun>),
    /// In the task that reads, where the call has arrived, as long as the function is short. See
    /// [`InlineGuard`](crate::function::inline_guard::InlineGuard).
    Inline(Arc<SyncRun>),
    /// On an async thread of the node's runtime.
    Task(Arc<AsyncRun>),
    /// On a dedicated thread, until the iterator ends or the receiver is dropped.
    Thread(Arc<dyn Fn(Inputs, Request, ItemWriter) + Send + Sync>),
    /// As a task of the node's runtime, until the stream ends or the receiver is dropped.
    Stream(Arc<dyn Fn(Inputs, Request, ItemWriter) -> BoxFuture<'static, ()> + Send + Sync>),
    /// Together with other calls of the function, on a blocking thread or as a task.
    Batch(Arc<BatchFunction>),
}

/// Memory for the future of an async function. Futures of one size use the same allocation, one
/// after the other.
#[derive(Debug, Default)]
pub(crate) struct TaskSlot(Option<ReusableBoxFuture<'static, Reply>>);

impl TaskSlot {
    /// Replaces the future.
    pub(crate) fn set(&mut self, future: impl Future<Output = Reply> + Send + 'static) {
        match &mut self.0 {
            Some(slot) => slot.set(future),
            None => self.0 = Some(ReusableBoxFuture::new(future)),
        }
    }

    /// Polls the future once, without a waker. Returns the future if it is pending.
    ///
    /// # Panics
    /// If the future panics.
    pub(crate) fn poll_once(&mut self) -> Result<Reply, Option<ReusableBoxFuture<'static, Reply>>> {
        // A future that is ready has dropped what it holds; only its memory stays.
        let polled = self.0.as_mut().and_then(FutureExt::now_or_never);
        polled.ok_or_else(|| self.0.take())
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.run {
            Run::Blocking(_) => "Handler(blocking)",
            Run::Inline(_) => "Handler(inline)",
            Run::Task(_) => "Handler(task)",
            Run::Thread(_) => "Handler(thread)",
            Run::Stream(_) => "Handler(stream)",
            Run::Batch(_) => "Handler(batch)",
        })
    }
}

type Raw<O> = <O as Outcome>::Raw;
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

/// Returns the handler of a sync function.
#[must_use]
pub fn blocking<F: RemoteUnary>(function: fn(Inputs, F::Arguments) -> Raw<F::Output>) -> Handler {
    Handler::new(Run::Blocking(sync::<F>(function)))
}

/// Returns the handler of a sync function that is short enough to run in the task that reads.
#[must_use]
pub fn inline<F: RemoteUnary>(function: fn(Inputs, F::Arguments) -> Raw<F::Output>) -> Handler {
    Handler::new(Run::Inline(sync::<F>(function)))
}

fn sync<F: RemoteUnary>(function: fn(Inputs, F::Arguments) -> Raw<F::Output>) -> Arc<SyncRun> {
    Arc::new(move |inputs, mut request| match arguments::<F>(&mut request) {
        Ok(arguments) => answer::<F>(request, function(inputs, arguments)),
        Err(refusal) => refusal,
    })
}

/// Returns the handler of an async function.
#[must_use]
pub fn asynchronous<F, Fut>(function: fn(Inputs, F::Arguments) -> Fut) -> Handler
where
    F: RemoteUnary,
    Fut: Future<Output = Raw<F::Output>> + Send + 'static,
{
    let run = move |inputs: Inputs, mut request: Request, slot: &mut TaskSlot| {
        slot.set(async move {
            match arguments::<F>(&mut request) {
                Ok(arguments) => {
                    let raw = function(inputs, arguments).await;
                    answer::<F>(request, raw)
                }
                Err(refusal) => refusal,
            }
        });
    };
    Handler::new(Run::Task(Arc::new(run)))
}

/// Returns the handler of a sync function that returns an iterator.
#[must_use]
pub fn iterator<F: RemoteStream>(function: fn(Inputs, F::Arguments, StreamSink<F>)) -> Handler {
    let run = move |inputs: Inputs, mut request: Request, writer: ItemWriter| match arguments::<F>(
        &mut request,
    ) {
        Ok(arguments) => {
            let sink = StreamSink::new(writer, &inputs);
            function(inputs, arguments, sink);
        }
        Err(refusal) => block_on(writer.refuse(refusal)),
    };
    Handler::new(Run::Thread(Arc::new(run)))
}

/// Returns the handler of an async function that returns an iterator. All of it runs on the
/// iterator's thread, so the iterator may borrow from its inputs and need not be `Send`.
#[must_use]
pub fn async_iterator<F, Fut>(function: fn(Inputs, F::Arguments, StreamSink<F>) -> Fut) -> Handler
where
    F: RemoteStream,
    Fut: Future<Output = ()> + 'static,
{
    let run = move |inputs: Inputs, mut request: Request, writer: ItemWriter| {
        let arguments = match arguments::<F>(&mut request) {
            Ok(arguments) => arguments,
            Err(refusal) => return block_on(writer.refuse(refusal)),
        };
        let context = inputs.context.clone();
        let sink = StreamSink::new(writer, &inputs);
        let work = function(inputs, arguments, sink);
        block_on(async { select(pin!(work), pin!(context.cancelled())).map(drop).await });
    };
    Handler::new(Run::Thread(Arc::new(run)))
}

/// Returns the handler of a function that returns a stream.
#[must_use]
pub fn stream<F, Fut>(function: fn(Inputs, F::Arguments, StreamSink<F>) -> Fut) -> Handler
where
    F: RemoteStream,
    Fut: Future<Output = ()> + Send + 'static,
{
    let run = move |inputs: Inputs, mut request: Request, writer: ItemWriter| {
        async move {
            match arguments::<F>(&mut request) {
                Ok(arguments) => {
                    let sink = StreamSink::new(writer, &inputs);
                    function(inputs, arguments, sink).await;
                }
                Err(refusal) => writer.refuse(refusal).await,
            }
        }
        .boxed()
    };
    Handler::new(Run::Stream(Arc::new(run)))
}

/// Decodes a call's arguments.
///
/// # Errors
/// The frame that rejects the call.
pub(crate) fn arguments<F: Remote>(request: &mut Request) -> Result<F::Arguments, Reply> {
    let Body { bytes, charge } = std::mem::take(&mut request.body);
    // The charge of the message also covers values that take no more than its length, as most do.
    let free = bytes.len() as u64;
    let budget = Budget::for_message(bytes.len(), request.limits.max_decoded);
    let mut budget = budget.charged_to(charge, free);
    let (parameters, types) = (F::DESCRIPTOR.parameters, &F::signature().arguments);
    let decoded = decode(request.codec, &bytes, parameters, types, &mut budget);
    drop(bytes);
    let arguments = decoded.map_err(|text| {
        let error = match budget.is_crowded() {
            true => no_room(),
            false => {
                let text = format!("invalid arguments for `{}`: {text}", F::DESCRIPTOR.name);
                Error::new(ErrorKind::BadArguments, text)
            }
        };
        let mut reply = Vec::new();
        put_error(&mut reply, &error.with_node(request.context.node()));
        reply
    })?;
    request.body.charge = budget.into_charge();
    Ok(arguments)
}

/// Encodes the return value of a function.
fn answer<F: RemoteUnary>(mut request: Request, raw: Raw<F::Output>) -> Reply {
    let reply = std::mem::take(&mut request.reply);
    answer_with::<F>(&request, reply, F::Output::split(raw))
}

/// Encodes the result of a call into `reply`, an empty buffer.
pub(crate) fn answer_with<F: RemoteUnary>(
    request: &Request,
    mut reply: Reply,
    result: Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::RawFailure>,
) -> Reply {
    let (form, types) = ((request.codec, request.limits), F::signature());
    match result {
        Ok(value) => {
            if let Err(error) = put_value(&mut reply, FrameKind::Body, form, types.value, &value) {
                put_error(&mut reply, &error.with_node(request.context.node()));
            }
        }
        Err(failure) => {
            let failure = F::Output::sent(failure, F::output_text);
            put_fault(&mut reply, &request.context, form, types.failure, &failure);
        }
    }
    reply
}

impl<F: RemoteStream> StreamSink<F> {
    fn new(writer: ItemWriter, inputs: &Inputs) -> Self {
        let context = &inputs.context;
        let limit = context.limit().map(|items| usize::try_from(items).ok());
        let operated = (!context.operators().is_empty()).then(|| {
            let form = writer.form(F::signature().value);
            let operators = context.operators().to_vec();
            Box::new(Operated { form, operators, demand: inputs.demand.clone() })
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
        let chain = OperatorChain::new(&self.operators, self.form);
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

/// Returns the message of a panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

/// Returns the error of a function that panicked.
pub(crate) fn panicked(function: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = format!("`{function}` panicked: {}", panic_text(panic));
    Error::new(ErrorKind::Panicked, text).with_evidence(Evidence::Answered)
}
