//! A cache of a stream at the client: one call that feeds many readers.

mod shared_stream;

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{Stream, StreamExt};

use crate::client::cached::shared_stream::{ReaderPlace, SharedStream, StreamSource};
use crate::client::stream::StreamCall;
use crate::function::outcome::{Outcome, Stages, Value};
use crate::function::remote::RemoteStream;

/// The error of a stream of the function `F`.
type ItemError<F> = <<F as RemoteStream>::Setup as Stages<<F as RemoteStream>::Item>>::ItemError;

/// A stream call that is shared by many readers of this program: one stream at the node, whose
/// items are decoded once. Returned by [`StreamCall::cached`].
///
/// - **[`subscribe`](Self::subscribe)** returns a stream of the last `n` items, and then of the live
///   ones. Clones of the cache share the call.
/// - **From the first subscriber to the last.** The call is made when a first subscription is
///   polled, and cancelled when the last one is dropped. A subscription after that begins with a
///   new call, of the same arguments and options, and an empty cache.
/// - **The end is kept.** When the stream has ended, well or with an error, each subscription ends
///   in the same way, also later ones, which get the last `n` items first. Nothing is called again.
/// - **No one waits for a slow subscriber.** It loses the oldest items once it is `n` + 64 items
///   behind, and [`missed`](Subscription::missed) counts them. A subscription that
///   is read as fast as the others loses none.
///
/// No task runs: the subscriptions poll the stream, each of them for all. If none is polled, the
/// producer waits as for any stream, also for longer than
/// [`stall_timeout`](crate::client::ClientLimits::stall_timeout), after which the stream ends.
///
/// Held are the last `n` items, and up to 64 before them that a subscriber has not taken.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::{Stream, StreamExt, stream};
/// # #[remote(stream)]
/// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let numbers = count::call(&client, 7).take(3).cached(1);
/// let first: Vec<_> = numbers.subscribe().map(Result::unwrap).collect().await;
/// assert_eq!(first.iter().map(|number| **number).collect::<Vec<u64>>(), [7, 8, 9]);
///
/// // The stream has ended: a late subscriber gets the last item, and the end.
/// let late: Vec<_> = numbers.subscribe().map(Result::unwrap).collect().await;
/// assert_eq!(*late[0], 9);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "broadcast")]
#[doc(alias = "share")]
#[doc(alias = "replay")]
pub struct Cached<F: RemoteStream, T = <<F as RemoteStream>::Item as Outcome>::Value> {
    shared: Arc<SharedStream<T, ItemError<F>>>,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteStream, T: Value> StreamCall<F, T> {
    /// Shares the stream among many readers of this program, and keeps its last `n` items for new
    /// ones.
    ///
    /// Set the options and operators of the call before. `n` may be 0. See [`Cached`] for what
    /// happens when subscribers come and go. A stream that has been polled already goes on in the
    /// cache; after its last subscriber it does not begin again, and neither does one with a client
    /// stream: later subscriptions end at once, without an item.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let numbers = count::call(&client, 7).cached(10);
    /// let (mut one, mut two) = (numbers.subscribe(), numbers.subscribe());
    /// assert_eq!(*one.next().await.unwrap().unwrap(), 7);
    /// assert_eq!(*two.next().await.unwrap().unwrap(), 7);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "share")]
    #[doc(alias = "replay")]
    pub fn cached(self, n: usize) -> Cached<F, T> {
        let mut calls = self.into_calls();
        let factory = move || -> StreamSource<T, ItemError<F>> {
            let Some(mut call) = calls() else { return futures::stream::empty().boxed() };
            futures::stream::poll_fn(move |context| {
                let next = call.poll_next_unpin(context);
                next.map(|next| next.map(|result| (result, call.has_ended())))
            })
            .boxed()
        };
        let shared = Arc::new(SharedStream::new(n, Box::new(factory)));
        Cached { shared, function: PhantomData }
    }
}

impl<F: RemoteStream, T> Cached<F, T> {
    /// Returns a stream of the last `n` items, and then of each item as it comes.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let numbers = count::call(&client, 7).cached(0);
    /// let mut live = numbers.subscribe();
    /// let number: Result<Arc<u64>, Arc<Error>> = live.next().await.unwrap();
    /// assert_eq!(*number.unwrap(), 7);
    /// # Ok(())
    /// # }
    /// ```
    pub fn subscribe(&self) -> Subscription<F, T> {
        Subscription {
            place: self.shared.join(),
            shared: self.shared.clone(),
            function: PhantomData,
        }
    }
}

impl<F: RemoteStream, T> Clone for Cached<F, T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), function: PhantomData }
    }
}

impl<F: RemoteStream, T> fmt::Debug for Cached<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cached({})", F::DESCRIPTOR.name)
    }
}

/// A reader of a [`Cached`] stream: a [`Stream`] of `Result<Arc<T>, Arc<E>>`. Returned by
/// [`Cached::subscribe`].
///
/// `E` is the error of the [`StreamCall`]. An error of one item does not end the stream; any other
/// does.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::{Stream, StreamExt, stream};
/// # #[remote(stream)]
/// # fn count(from: u64) -> impl Stream<Item = u64> { stream::iter(from..) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![count]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let mut numbers = count::call(&client, 7).take(100).cached(0).subscribe();
/// while let Some(number) = numbers.next().await {
///     println!("{}", number.unwrap());
/// }
/// assert_eq!(numbers.missed(), 0);
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future of `next` loses no item. Dropping the subscription takes nothing from the
/// others; dropping the last one cancels the call.
#[must_use = "a subscription does nothing until it is polled"]
pub struct Subscription<F: RemoteStream, T = <<F as RemoteStream>::Item as Outcome>::Value> {
    shared: Arc<SharedStream<T, ItemError<F>>>,
    place: ReaderPlace,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteStream, T> Subscription<F, T> {
    /// Returns the number of items that this subscription has lost because it was read too slowly,
    /// items that failed included.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # use futures::{Stream, StreamExt};
    /// # #[remote(stream)]
    /// # async fn count(from: u64) -> impl Stream<Item = u64>;
    /// # async fn example(client: Client) {
    /// let mut numbers = count::call(&client, 7).cached(0).subscribe();
    /// while let Some(number) = numbers.next().await {
    ///     println!("{number:?}, {} lost so far", numbers.missed());
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.shared.missed(&self.place)
    }
}

impl<F: RemoteStream, T> Stream for Subscription<F, T> {
    type Item = Result<Arc<T>, Arc<ItemError<F>>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.shared.poll(&mut this.place, context)
    }
}

impl<F: RemoteStream, T> Drop for Subscription<F, T> {
    fn drop(&mut self) {
        self.shared.leave(&self.place);
    }
}

impl<F: RemoteStream, T> fmt::Debug for Subscription<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({}, {} missed)", F::DESCRIPTOR.name, self.missed())
    }
}
