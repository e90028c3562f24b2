//! Concurrent calls of one function with many arguments.

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

/// Concurrent calls of one function with each of many arguments: a [`Stream`] of their results.
/// Returned by a stub's `map`.
///
/// - Calls are routed one by one, so that all nodes that offer the function share the work.
/// - Results come in the order of the arguments, unless [`unordered`](Self::unordered) is set.
/// - A call that fails is one `Err` among the results; the other calls go on.
/// - The iterator is advanced as calls are made, so it may be endless.
///
/// An input is the argument itself, or a tuple if the function has several. Functions without
/// arguments, and those with a stream, have no `map`. The items are those of [`Call`]:
/// `Result<T, Error>`, or `Result<T, CallError<E>>`. Options hold for each call separately, from
/// the next call that is made: a timeout begins with the first poll of that call.
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
/// Dropping the stream cancels the calls in flight. Its `next` can be dropped without losing a
/// result.
#[must_use = "a stream does nothing until it is polled"]
#[doc(alias = "batch")]
#[doc(alias = "scatter")]
#[doc(alias = "parallel")]
#[doc(alias = "fan-out")]
pub struct Map<F: RemoteUnary, I: Iterator> {
    client: Client,
    inputs: I,
    /// Turns an input into the tuple of arguments.
    arguments: fn(I::Item) -> F::Arguments,
    concurrency: usize,
    running: MapCalls<F>,
    /// Whether `inputs` has returned `None`.
    exhausted: bool,
    function: PhantomData<fn() -> F>,
}

enum MapCalls<F: RemoteUnary> {
    Ordered(FuturesOrdered<Call<F>>),
    Unordered(FuturesUnordered<Call<F>>),
}

/// Default of [`Map::concurrency`].
const CONCURRENCY: usize = 32;

/// Creates calls of `F` with each of `inputs`. Generated stubs use it.
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
    /// Sets how many calls run at a time.
    ///
    /// Default: 32. The value is clamped to 1 to 1,024, which is as many calls as a client may have
    /// open. In order, results that wait for an earlier one count too.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::TryStreamExt;
    /// # #[remote]
    /// # fn square(n: u64) -> u64 { n * n }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![square]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let squares: Vec<u64> = square::map(&client, 1..=4).concurrency(2).try_collect().await?;
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "parallelism")]
    #[doc(alias = "limit")]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.clamp(1, MAX_CLIENT_STREAMS as usize);
        self
    }

    /// Returns each result as soon as it arrives, in any order. Has to be set before the first
    /// poll; later it has no effect.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::TryStreamExt;
    /// # #[remote]
    /// # fn square(n: u64) -> u64 { n * n }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![square]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut squares: Vec<u64> = square::map(&client, 1..=4).unordered().try_collect().await?;
    /// squares.sort();
    /// assert_eq!(squares, [1, 4, 9, 16]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn unordered(mut self) -> Self {
        if let MapCalls::Ordered(none) = &self.running
            && none.is_empty()
        {
            self.running = MapCalls::Unordered(FuturesUnordered::new());
        }
        self
    }

    /// Changes the options of the calls that have not been made yet.
    fn set(&mut self, change: impl FnOnce(&mut Options)) {
        change(Arc::make_mut(&mut self.client.options));
    }
}

options!(
    "let sums = add::map(&client, [(1, 2), (3, 4)])",
    impl<F: RemoteUnary, I: Iterator> Map<F, I>
);

// No input is ever pinned in place.
impl<F: RemoteUnary, I: Iterator> Unpin for Map<F, I> {}

impl<F: RemoteUnary, I: Iterator> Stream for Map<F, I> {
    /// `Result<T, Error>`, or `Result<T, CallError<E>>`, as for [`Call`].
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
        // `None` only if no call is running, and then the inputs are exhausted.
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
