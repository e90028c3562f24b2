//! Handlers: functions with erased types, ready to be run by a node.
//!
//! Generated code calls one of the constructors below with a closure that captures nothing. The
//! logic that depends on the function's types is here, the rest is in `node::exec`.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, select};
use pollster::block_on;
use tokio_util::sync::ReusableBoxFuture;

use crate::call::demand::Demand;
use crate::decode::Budget;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::{decode, no_room};
use crate::function::batch::BatchFunction;
use crate::function::context::Context;
use crate::function::execution_policy::ExecutionPolicy;
use crate::function::item_writer::{ItemWriter, put_fault, put_value};
use crate::function::operators::applied::{ItemFunction, RunningOperator};
use crate::function::outcome::Outcome;
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};
use crate::function::states::{State, StateType};
use crate::function::stream_sink::StreamSink;
use crate::function::upload::{RawUpload, Upload, Uploaded};
use crate::gauge::MemoryCharge;
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::frame::FrameKind;
use crate::wire::limits::MessageLimits;
use crate::wire::operators::AppliedFunction;

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
    /// The functions that are applied to the items of the stream, in order.
    pub(crate) operators: Vec<OfferedOperator>,
}

/// A function of the node that is applied to the items of a stream.
#[derive(Clone)]
pub(crate) struct OfferedOperator {
    pub(crate) applied: Arc<AppliedFunction>,
    pub(crate) start: Arc<StartOperator>,
}

/// Decodes the arguments of an operator, in the codec of the call, and prepares it for one stream.
///
/// Its error is `BadArguments` if they cannot be decoded.
pub(crate) type StartOperator =
    dyn Fn(Inputs, Codec, &AppliedFunction) -> Result<Box<dyn ItemFunction>, Error> + Send + Sync;

impl fmt::Debug for OfferedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.applied.fmt(f)
    }
}

impl OfferedOperator {
    /// Prepares the operator for the stream of the call of `context`.
    ///
    /// # Errors
    /// `BadArguments` if its arguments cannot be decoded.
    pub(crate) fn start(&self, context: &Context, codec: Codec) -> Result<RunningOperator, Error> {
        let function = (self.start)(Inputs::new(context.clone()), codec, &self.applied)?;
        Ok(RunningOperator::new(self.applied.clone(), function))
    }
}

impl Inputs {
    pub(crate) fn new(context: Context) -> Self {
        Self { context, upload: None, demand: None, operators: Vec::new() }
    }

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
        let raw = self.upload.take().expect("there is one stream per call");
        Upload::new(raw, self.context.clone())
    }
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
    /// Not by a call: on the items of a stream, where that runs.
    Operator(Arc<StartOperator>),
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
            Run::Operator(_) => "Handler(operator)",
        })
    }
}

type Raw<O> = <O as Outcome>::Raw;

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
    let run = move |inputs: Inputs, mut request: Request, writer: ItemWriter| match start::<F>(
        &inputs,
        &mut request,
    ) {
        Ok((arguments, running)) => {
            let sink = sink(writer, &inputs, running);
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
        let (arguments, running) = match start::<F>(&inputs, &mut request) {
            Ok(started) => started,
            Err(refusal) => return block_on(writer.refuse(refusal)),
        };
        let context = inputs.context.clone();
        let sink = sink(writer, &inputs, running);
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
            match start::<F>(&inputs, &mut request) {
                Ok((arguments, running)) => {
                    let sink = sink(writer, &inputs, running);
                    function(inputs, arguments, sink).await;
                }
                Err(refusal) => writer.refuse(refusal).await,
            }
        }
        .boxed()
    };
    Handler::new(Run::Stream(Arc::new(run)))
}

/// Decodes the arguments of a call that returns a stream, and prepares the operators of the stream.
///
/// # Errors
/// The frame that rejects the call.
fn start<F: Remote>(
    inputs: &Inputs,
    request: &mut Request,
) -> Result<(F::Arguments, Vec<RunningOperator>), Reply> {
    let arguments = arguments::<F>(request)?;
    let (context, codec) = (&inputs.context, request.codec);
    let running = inputs.operators.iter().map(|operator| operator.start(context, codec));
    match running.collect() {
        Ok(running) => Ok((arguments, running)),
        Err(error) => Err(refusal(error, context)),
    }
}

fn sink<F: RemoteStream>(
    writer: ItemWriter,
    inputs: &Inputs,
    running: Vec<RunningOperator>,
) -> StreamSink<F> {
    StreamSink::new(writer, &inputs.context, inputs.demand.clone(), running)
}

/// Returns the frame that rejects the call of `context`.
pub(crate) fn refusal(error: Error, context: &Context) -> Reply {
    let mut reply = Vec::new();
    put_error(&mut reply, &error.with_node(context.node()));
    reply
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
    if budget.left_out() > 0 {
        request.context.tally().note_left_out(budget.left_out());
    }
    let arguments = decoded.map_err(|text| {
        let error = match budget.is_crowded() {
            true => no_room(),
            false => {
                let text = format!("invalid arguments for `{}`: {text}", F::DESCRIPTOR.name);
                Error::new(ErrorKind::BadArguments, text)
            }
        };
        refusal(error, &request.context)
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
