//! One function, many arguments, all nodes.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::stream::{FuturesOrdered, FuturesUnordered};
use futures::{Stream, StreamExt};

use crate::client::call::{Call, call};
use crate::client::handle::Client;
use crate::client::options::{Options, options};
use crate::function::outcome::Outcome;
use crate::function::remote::{Remote, RemoteUnary};
use crate::wire::limits::MAX_CLIENT_STREAMS;

/// Calls of one function with each of many arguments, as a [`Stream`] of their results. Returned by
/// a stub's `map`.
///
/// Each call goes to a node of its own choice, so that all nodes that offer the function share the
/// work. Results come in the order of the arguments, unless [`unordered`](Self::unordered). A call
/// that fails is one `Err` among the results; the others go on. Arguments are taken from the
/// iterator as calls are made, so that it may be endless.
///
/// ```
/// # use easyremote::{Client, Error, remote};
/// use futures::TryStreamExt;
///
/// #[remote]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// async fn sum_of_squares(client: &Client) -> Result<u64, Error> {
///     let squares = square::map(client, 1..=1_000).concurrency(64).unordered();
///     squares.try_fold(0, |sum, square| async move { Ok(sum + square) }).await
/// }
/// ```
///
/// # Cancel safety
/// Dropping it cancels the calls under way. Between two items nothing is lost.
#[must_use = "a stream does nothing until it is polled"]
pub struct Map<F: RemoteUnary, I: Iterator> {
    client: Client,
    inputs: I,
    /// Makes the tuple of arguments.
    arguments: fn(I::Item) -> F::Arguments,
    concurrency: usize,
    running: MapCalls<F>,
    /// There are no more inputs.
    exhausted: bool,
    function: PhantomData<fn() -> F>,
}

enum MapCalls<F: RemoteUnary> {
    Ordered(FuturesOrdered<Call<F>>),
    Unordered(FuturesUnordered<Call<F>>),
}

/// Calls at a time unless set otherwise.
const CONCURRENCY: usize = 32;

/// Begins calls of `F` with each of `inputs`; what the stubs do.
pub fn map<F, I>(
    client: &Client,
    inputs: I,
    arguments: fn(I::Item) -> F::Arguments,
) -> Map<F, I::IntoIter>
where
    F: RemoteUnary,
    I: IntoIterator,
{
    Map {
        client: client.clone(),
        inputs: inputs.into_iter(),
        arguments,
        concurrency: CONCURRENCY,
        running: MapCalls::Ordered(FuturesOrdered::new()),
        exhausted: false,
        function: PhantomData,
    }
}

impl<F: RemoteUnary, I: Iterator> Map<F, I> {
    /// Most calls at a time; 32 unless set, at least 1 and at most 1,024, which is what a client
    /// may have open. In order, results that wait for an earlier one count too.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.clamp(1, MAX_CLIENT_STREAMS as usize);
        self
    }

    /// Gives each result as soon as it is there, in no order. To be set before the first poll;
    /// later it has no effect.
    pub fn unordered(mut self) -> Self {
        if let MapCalls::Ordered(none) = &self.running
            && none.is_empty()
        {
            self.running = MapCalls::Unordered(FuturesUnordered::new());
        }
        self
    }

    /// For calls that have not been made yet.
    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        change(Arc::make_mut(&mut self.client.options));
    }
}

options!(impl<F: RemoteUnary, I: Iterator> Map<F, I>);

// No input is ever pinned in place.
impl<F: RemoteUnary, I: Iterator> Unpin for Map<F, I> {}

impl<F: RemoteUnary, I: Iterator> Stream for Map<F, I> {
    type Item = Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        while !this.exhausted && this.running.len() < this.concurrency {
            match this.inputs.next() {
                Some(input) => {
                    this.running.push(call(&this.client, (this.arguments)(input)));
                }
                None => this.exhausted = true,
            }
        }
        // `None` only if nothing is running, and then there was no input.
        let result = ready!(match &mut this.running {
            MapCalls::Ordered(calls) => calls.poll_next_unpin(context),
            MapCalls::Unordered(calls) => calls.poll_next_unpin(context),
        });
        Poll::Ready(result)
    }
}

impl<F: RemoteUnary> MapCalls<F> {
    fn len(&self) -> usize {
        match self {
            Self::Ordered(calls) => calls.len(),
            Self::Unordered(calls) => calls.len(),
        }
    }

    fn push(&mut self, call: Call<F>) {
        match self {
            Self::Ordered(calls) => calls.push_back(call),
            Self::Unordered(calls) => calls.push(call),
        }
    }
}

impl<F: RemoteUnary, I: Iterator> std::fmt::Debug for Map<F, I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Map({}, {} running)", <F as Remote>::DESCRIPTOR.name, self.running.len())
    }
}
