//! Batches: functions that take the arguments of several calls in one run.
//!
//! ```text
//!   a call ---> decode ---> BatchMember --+
//!   a call ---> decode ---> BatchMember --+--> run: lists of arguments ---> the function
//!   a call ---> decode ---> BatchMember --+         a reply per call  <--- list of results
//! ```
//!
//! The logic that depends on the function's types is here. Which calls run together, and when, is
//! decided in `node::exec::batch`.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::columns::Columns;
use crate::function::context::Context;
use crate::function::handler::{Handler, Reply, Request, Run, answer_with, arguments};
use crate::function::item_writer::put_fault;
use crate::function::outcome::Outcome;
use crate::function::panics::{panic_text, panicked};
use crate::function::remote::{Remote, RemoteUnary};
use crate::function::states::State;
use crate::wire::error::put_error;

/// When a batch leaves.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Highest sum of the weights of a batch's elements; without weights, of their number.
    pub(crate) max: u32,
    /// How long the first element waits for others.
    pub(crate) wait: Duration,
}

impl BatchLimits {
    /// Limits a batch to `max` elements. The first one waits at most `wait_us` microseconds for
    /// others.
    #[must_use]
    pub const fn new(max: u32, wait_us: u64) -> Self {
        Self { max, wait: Duration::from_micros(wait_us) }
    }
}

/// The inputs of a run besides its lists.
#[derive(Debug)]
pub struct BatchInputs {
    /// Those of the calls, in the order of the lists; at least one.
    callers: Vec<Context>,
}

impl BatchInputs {
    /// Returns the node's state of type `T`.
    ///
    /// # Panics
    /// If the node has no such state. It cannot happen: a node does not start without the states
    /// that its functions need.
    #[must_use]
    pub fn state<T: State>(&self) -> &T {
        let state = self.callers.first().and_then(|caller| caller.states().get());
        state.expect("the node was started without the state")
    }

    /// Returns the receiver of a method: the instance that the callers have named, or the node's
    /// state.
    ///
    /// # Panics
    /// If the node has no such value. It cannot happen: a node offers a method only for the values
    /// that it has.
    #[must_use]
    pub fn receiver<T: State>(&self) -> &T {
        let value = self.callers.first().and_then(|caller| {
            // Instances are different functions to the node, so all callers have named this one.
            caller.states().instance(caller.instance())
        });
        value.expect("the node was started without the value")
    }

    /// Returns the contexts of the calls, in the order of the lists.
    #[must_use]
    pub fn callers(&self) -> &[Context] {
        &self.callers
    }
}

/// The result of one call.
pub(crate) type ElementResult<O> = Result<<O as Outcome>::Value, <O as Outcome>::RawFailure>;

/// What a batch function returns: a list with one result per call.
pub trait BatchReturn<O: Outcome>: Send + 'static {
    /// Splits the results.
    ///
    /// # Errors
    /// The function's own failure of the whole run.
    fn each(self) -> Result<Vec<ElementResult<O>>, O::RawFailure>;
}

impl<O: Outcome> BatchReturn<O> for Vec<O::Raw> {
    fn each(self) -> Result<Vec<ElementResult<O>>, O::RawFailure> {
        Ok(self.into_iter().map(O::split).collect())
    }
}

impl<O, T, E> BatchReturn<O> for Result<Vec<T>, E>
where
    O: Outcome<Value = T, RawFailure = E>,
    T: Send + 'static,
    E: Send + 'static,
{
    fn each(self) -> Result<Vec<Result<T, E>>, E> {
        self.map(|values| values.into_iter().map(Ok).collect())
    }
}

/// The weight of an element: what `weigh` returns.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the weight of an element",
    label = "`weigh` returns `usize`, `u32`, `u16` or `u8`"
)]
pub trait Weight {
    /// Returns the weight; at least 1.
    fn weight(self) -> u64;
}

macro_rules! weights {
    ($($name:ident)*) => {$(
        impl Weight for $name {
            fn weight(self) -> u64 {
                u64::try_from(self).unwrap_or(u64::MAX).max(1)
            }
        }
    )*};
}

weights!(usize u32 u16 u8);

/// One call of a batch, with its decoded arguments.
pub(crate) struct BatchMember {
    /// The `F::Arguments` of the function.
    arguments: Box<dyn Any + Send>,
    pub(crate) weight: u64,
    /// Without the encoded arguments; it has the charge for the decoded ones.
    pub(crate) request: Request,
}

type Decode = dyn Fn(Request) -> Result<BatchMember, Reply> + Send + Sync;
type RunOnThread = dyn Fn(Vec<BatchMember>) -> Vec<Reply> + Send + Sync;
type RunAsTask = dyn Fn(Vec<BatchMember>) -> BoxFuture<'static, Vec<Reply>> + Send + Sync;

/// A batch function with erased types.
pub(crate) struct BatchFunction {
    pub(crate) limits: BatchLimits,
    decode: Box<Decode>,
    pub(crate) body: BatchBody,
}

/// How a run of a batch function is executed. It returns the replies of its calls, in order.
pub(crate) enum BatchBody {
    /// On a blocking thread.
    Thread(Box<RunOnThread>),
    /// As a task.
    Task(Box<RunAsTask>),
}

impl BatchFunction {
    /// Decodes and weighs one call.
    ///
    /// # Errors
    /// The frame that rejects the call.
    pub(crate) fn decode(&self, request: Request) -> Result<BatchMember, Reply> {
        (self.decode)(request)
    }
}

impl fmt::Debug for BatchFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchFunction({:?})", self.limits)
    }
}

type ListsOf<F> = <<F as Remote>::Arguments as Columns>::Lists;

/// Returns the handler of a sync function that takes lists. `weigh` returns the weight of one
/// element.
#[must_use]
pub fn batch<F, R>(
    limits: BatchLimits,
    weigh: fn(&F::Arguments) -> u64,
    function: fn(BatchInputs, ListsOf<F>) -> R,
) -> Handler
where
    F: RemoteUnary<Arguments: Columns>,
    R: BatchReturn<F::Output>,
{
    let run = move |members: Vec<BatchMember>| {
        let (inputs, lists, requests) = lists::<F>(members);
        replies::<F>(requests, function(inputs, lists))
    };
    handler::<F>(limits, weigh, BatchBody::Thread(Box::new(run)))
}

/// Returns the handler of an async function that takes lists.
#[must_use]
pub fn async_batch<F, Fut>(
    limits: BatchLimits,
    weigh: fn(&F::Arguments) -> u64,
    function: fn(BatchInputs, ListsOf<F>) -> Fut,
) -> Handler
where
    F: RemoteUnary<Arguments: Columns>,
    Fut: Future<Output: BatchReturn<F::Output>> + Send + 'static,
{
    let run = move |members: Vec<BatchMember>| {
        async move {
            let (inputs, lists, requests) = lists::<F>(members);
            replies::<F>(requests, function(inputs, lists).await)
        }
        .boxed()
    };
    handler::<F>(limits, weigh, BatchBody::Task(Box::new(run)))
}

fn handler<F: Remote>(
    limits: BatchLimits,
    weigh: fn(&F::Arguments) -> u64,
    body: BatchBody,
) -> Handler {
    let decode = Box::new(move |request: Request| member::<F>(request, weigh));
    let mut handler = Handler::new(Run::Batch(Arc::new(BatchFunction { limits, decode, body })));
    handler.policy.set_batch(limits.max);
    handler
}

/// Decodes one call, and weighs it.
fn member<F: Remote>(
    mut request: Request,
    weigh: fn(&F::Arguments) -> u64,
) -> Result<BatchMember, Reply> {
    let arguments = arguments::<F>(&mut request)?;
    // Unwind safe: the arguments are only read.
    let weighed = catch_unwind(AssertUnwindSafe(|| weigh(&arguments)));
    let weight = weighed.map_err(|panic| {
        let (name, panic) = (F::DESCRIPTOR.name, panic_text(&*panic));
        let text = format!("`weigh` of `{name}` panicked before it ran: {panic}");
        let error = Error::new(ErrorKind::Unavailable, text).with_evidence(Evidence::NotStarted);
        error_reply(&mut request, error)
    })?;
    Ok(BatchMember { arguments: Box::new(arguments), weight, request })
}

/// Splits the calls of a run into its inputs, the lists of arguments, and what is left to answer.
fn lists<F>(members: Vec<BatchMember>) -> (BatchInputs, ListsOf<F>, Vec<Request>)
where
    F: Remote<Arguments: Columns>,
{
    let mut rows = Vec::with_capacity(members.len());
    let mut requests = Vec::with_capacity(members.len());
    for BatchMember { arguments, request, .. } in members {
        // The members of a function's runs are made by `member` with the same `F`.
        let row = arguments.downcast::<F::Arguments>().expect("arguments of another function");
        rows.push(*row);
        requests.push(request);
    }
    let callers = requests.iter().map(|request| request.context.clone()).collect();
    (BatchInputs { callers }, F::Arguments::columns(rows), requests)
}

/// Encodes the results of a run, one reply per call.
fn replies<F: RemoteUnary>(
    mut requests: Vec<Request>,
    returned: impl BatchReturn<F::Output>,
) -> Vec<Reply> {
    let (n, name) = (requests.len(), F::DESCRIPTOR.name);
    match returned.each() {
        Ok(results) if results.len() == n => {
            let each = requests.into_iter().zip(results);
            each.map(|(request, result)| reply::<F>(request, result)).collect()
        }
        Ok(results) => {
            let text = format!(
                "`{name}` returned {} results for {n} callers; a batch function returns one per \
                 element, in their order",
                results.len()
            );
            let error = Error::new(ErrorKind::Failed, text).with_evidence(Evidence::Answered);
            requests.iter_mut().map(|request| error_reply(request, error.clone())).collect()
        }
        Err(failure) => {
            let failure = F::Output::sent(failure, F::output_text);
            let of = F::signature().failure;
            let each = requests.iter_mut().map(|request| {
                let mut reply = std::mem::take(&mut request.reply);
                let form = (request.codec, request.limits);
                put_fault(&mut reply, &request.context, form, of, &failure);
                reply
            });
            each.collect()
        }
    }
}

/// Encodes the result of one call. A panic of its `Serialize` is an error of this call only.
fn reply<F: RemoteUnary>(mut request: Request, result: ElementResult<F::Output>) -> Reply {
    let context = request.context.clone();
    let reply = std::mem::take(&mut request.reply);
    // Unwind safe: result and request are dropped with the panic.
    let encoded = catch_unwind(AssertUnwindSafe(|| answer_with::<F>(&request, reply, result)));
    encoded.unwrap_or_else(|panic| {
        let error = panicked(F::DESCRIPTOR.name, &*panic).with_node(context.node());
        let mut reply = Reply::new();
        put_error(&mut reply, &error);
        reply
    })
}

fn error_reply(request: &mut Request, error: Error) -> Reply {
    let mut reply = std::mem::take(&mut request.reply);
    put_error(&mut reply, &error.with_node(request.context.node()));
    reply
}
