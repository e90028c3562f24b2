//! Handlers: a function with its types erased, ready to be run by a node.
//!
//! Generated code calls one of the constructors below with a closure that captures nothing; all
//! logic is here, and what does not depend on the function's types is in `node::dispatch`.

use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::{BoxFuture, Either, select};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Executed};
use crate::function::arguments::decode;
use crate::function::outbox::{Outbox, put_value};
use crate::function::outcome::Outcome;
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::frame::FrameKind;

/// The arguments of one call, as they came.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) codec: Codec,
    pub(crate) body: Bytes,
    /// Longest answer or item, in bytes.
    pub(crate) max_message: usize,
}

/// The frames that answer a call.
pub(crate) type Reply = Vec<u8>;

/// A function with its types erased.
pub struct Handler {
    pub(crate) run: Run,
}

/// Where and how a handler runs.
pub(crate) enum Run {
    /// On a thread that may block.
    Blocking(Arc<dyn Fn(Request) -> Reply + Send + Sync>),
    /// As a task of the node's runtime.
    Task(Box<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>),
    /// On a thread of its own, until the iterator ends or nobody listens.
    Thread(Arc<dyn Fn(Request, Outbox) + Send + Sync>),
    /// As a task of the node's runtime, until the stream ends or nobody listens.
    Stream(Box<dyn Fn(Request, Outbox) -> BoxFuture<'static, ()> + Send + Sync>),
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.run {
            Run::Blocking(_) => "Handler(blocking)",
            Run::Task(_) => "Handler(task)",
            Run::Thread(_) => "Handler(thread)",
            Run::Stream(_) => "Handler(stream)",
        })
    }
}

type Raw<O> = <O as Outcome>::Raw;
type SetupFailure<F> = <<F as RemoteStream>::Setup as Outcome>::Failure;
type RawItem<F> = <<F as RemoteStream>::Item as Outcome>::Raw;

/// A sync function.
#[must_use]
pub fn blocking<F: RemoteUnary>(function: fn(F::Arguments) -> Raw<F::Output>) -> Handler {
    let run = move |request: Request| match arguments::<F>(&request) {
        Ok(arguments) => answer::<F>(&request, function(arguments)),
        Err(refusal) => refusal,
    };
    Handler { run: Run::Blocking(Arc::new(run)) }
}

/// A sync function that takes so little time that it runs as a task.
#[must_use]
pub fn inline<F: RemoteUnary>(function: fn(F::Arguments) -> Raw<F::Output>) -> Handler {
    asynchronous_with::<F, _, _>(move |arguments| async move { function(arguments) })
}

/// An async function.
#[must_use]
pub fn asynchronous<F, Fut>(function: fn(F::Arguments) -> Fut) -> Handler
where
    F: RemoteUnary,
    Fut: Future<Output = Raw<F::Output>> + Send + 'static,
{
    asynchronous_with::<F, _, _>(function)
}

fn asynchronous_with<F, Fun, Fut>(function: Fun) -> Handler
where
    F: RemoteUnary,
    Fun: Fn(F::Arguments) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Raw<F::Output>> + Send + 'static,
{
    let run = move |request: Request| {
        async move {
            match arguments::<F>(&request) {
                Ok(arguments) => {
                    let raw = function(arguments).await;
                    answer::<F>(&request, raw)
                }
                Err(refusal) => refusal,
            }
        }
        .boxed()
    };
    Handler { run: Run::Task(Box::new(run)) }
}

/// A sync function that gives an iterator.
#[must_use]
pub fn iterator<F, I>(function: fn(F::Arguments) -> Result<I, SetupFailure<F>>) -> Handler
where
    F: RemoteStream,
    I: Iterator<Item = RawItem<F>> + 'static,
{
    let run = move |request: Request, outbox: Outbox| match arguments::<F>(&request) {
        Ok(arguments) => match function(arguments) {
            Ok(iterator) => iterate::<F, I>(iterator, outbox),
            Err(failure) => block_on(outbox.fault(failure)),
        },
        Err(refusal) => block_on(outbox.refuse(refusal)),
    };
    Handler { run: Run::Thread(Arc::new(run)) }
}

/// An async function that gives an iterator.
#[must_use]
pub fn async_iterator<F, I, Fut>(function: fn(F::Arguments) -> Fut) -> Handler
where
    F: RemoteStream,
    I: Iterator<Item = RawItem<F>> + Send + 'static,
    Fut: Future<Output = Result<I, SetupFailure<F>>> + Send + 'static,
{
    stream_with::<F, Fut, _>(function, |iterator, outbox| {
        // The task ends with the thread, so that a panic of one is a panic of the other.
        let (done, ended) = oneshot::channel();
        let spawned = thread::Builder::new().name("easyremote-iter".into()).spawn(move || {
            iterate::<F, I>(iterator, outbox);
            let _ = done.send(());
        });
        async move {
            if let Err(error) = spawned {
                tracing::error!(%error, "no thread for an iterator");
                return;
            }
            assert!(ended.await.is_ok(), "the iterator panicked");
        }
        .boxed()
    })
}

/// A function that gives a stream.
#[must_use]
pub fn stream<F, S, Fut>(function: fn(F::Arguments) -> Fut) -> Handler
where
    F: RemoteStream,
    S: Stream<Item = RawItem<F>> + Send + 'static,
    Fut: Future<Output = Result<S, SetupFailure<F>>> + Send + 'static,
{
    stream_with::<F, Fut, _>(function, |stream, outbox| pour::<F, S>(stream, outbox).boxed())
}

fn stream_with<F, Fut, S>(
    function: fn(F::Arguments) -> Fut,
    run: fn(S, Outbox) -> BoxFuture<'static, ()>,
) -> Handler
where
    F: RemoteStream,
    S: Send + 'static,
    Fut: Future<Output = Result<S, SetupFailure<F>>> + Send + 'static,
{
    let run = move |request: Request, outbox: Outbox| {
        async move {
            let arguments = match arguments::<F>(&request) {
                Ok(arguments) => arguments,
                Err(refusal) => return outbox.refuse(refusal).await,
            };
            match function(arguments).await {
                Ok(stream) => run(stream, outbox).await,
                Err(failure) => outbox.fault(failure).await,
            }
        }
        .boxed()
    };
    Handler { run: Run::Stream(Box::new(run)) }
}

/// Decodes a call's arguments, or makes the frame that refuses it.
fn arguments<F: Remote>(request: &Request) -> Result<F::Arguments, Reply> {
    decode(request.codec, &request.body, F::DESCRIPTOR.parameters).map_err(|text| {
        let text = format!("`{}` cannot be called like this: {text}", F::DESCRIPTOR.name);
        let mut reply = Vec::new();
        put_error(&mut reply, &Error::new(ErrorKind::BadArguments, text));
        reply
    })
}

/// Encodes what a function returned.
fn answer<F: RemoteUnary>(request: &Request, raw: Raw<F::Output>) -> Reply {
    let mut reply = Vec::new();
    let (codec, max) = (request.codec, request.max_message);
    let encoded = match F::Output::split(raw) {
        Ok(value) => put_value(&mut reply, FrameKind::Body, codec, max, &value),
        Err(failure) => put_value(&mut reply, FrameKind::Fault, codec, max, &failure),
    };
    if let Err(error) = encoded {
        put_error(&mut reply, &error);
    }
    reply
}

/// Hands over the items of an iterator, each as soon as it exists: what the I/O thread has not
/// fetched yet is fetched together.
fn iterate<F: RemoteStream, I: Iterator<Item = RawItem<F>>>(iterator: I, mut outbox: Outbox) {
    outbox.open();
    if block_on(outbox.flush()).is_err() {
        return;
    }
    for raw in iterator {
        if let Err(error) = outbox.item(&F::Item::split(raw)) {
            return block_on(outbox.fail(&error));
        }
        if block_on(outbox.flush()).is_err() {
            return;
        }
    }
    block_on(outbox.end());
}

/// Hands over the items of a stream: all that are ready at once together, and what is there as
/// soon as the next one is not ready.
async fn pour<F: RemoteStream, S: Stream<Item = RawItem<F>>>(stream: S, mut outbox: Outbox) {
    let mut stream = pin!(stream);
    outbox.open();
    loop {
        // Not `await`: what is gathered must not wait for company.
        let item = match stream.next().now_or_never() {
            Some(item) if !outbox.is_full() => item,
            ready => {
                if outbox.flush().await.is_err() {
                    return;
                }
                match ready {
                    Some(item) => {
                        // A stream that is always ready must let others run, and be abortable.
                        tokio::task::yield_now().await;
                        item
                    }
                    None => match select(stream.next(), pin!(outbox.closed())).await {
                        Either::Left((item, _)) => item,
                        Either::Right(_) => return,
                    },
                }
            }
        };
        match item {
            Some(raw) => {
                if let Err(error) = outbox.item(&F::Item::split(raw)) {
                    return outbox.fail(&error).await;
                }
            }
            None => return outbox.end().await,
        }
    }
}

/// The error of a function that panicked.
pub(crate) fn panicked(function: &str, panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    let text = format!("`{function}` panicked: {text}");
    Error::new(ErrorKind::Panicked, text).with_executed(Executed::Yes)
}
