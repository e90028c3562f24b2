//! Writing an async stream as a function that sends its items.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use parking_lot::Mutex;

/// Makes a stream of what `generator` sends: an async generator without another crate.
///
/// `generator` gets the end to send to, runs while the stream is polled, and ends the stream by
/// returning. Dropping the stream drops it where it waits.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::remote;
/// use futures::Stream;
///
/// #[remote(stream)]
/// fn countdown(from: u32) -> impl Stream<Item = u32> {
///     easyremote::stream(move |mut out| async move {
///         for left in (0..=from).rev() {
///             out.send(left).await;
///             tokio::time::sleep(Duration::from_secs(1)).await;
///         }
///     })
/// }
/// ```
pub fn stream<T, F, Fut>(generator: F) -> impl Stream<Item = T> + use<T, F, Fut>
where
    F: FnOnce(Out<T>) -> Fut,
    Fut: Future<Output = ()>,
{
    let slot = Slot::default();
    let running = Some(Box::pin(generator(Out { slot: slot.clone() })));
    Generated { slot, running }
}

/// One item on its way from the generator to the stream.
type Slot<T> = Arc<Mutex<Option<T>>>;

fn take<T>(slot: &Slot<T>) -> Option<T> {
    // Nothing panics while it is locked.
    slot.lock().take()
}

/// Where a generator sends its items; see [`stream`].
pub struct Out<T> {
    slot: Slot<T>,
}

impl<T> Out<T> {
    /// Sends an item, and waits until whoever polls the stream has taken it.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the item is sent all the same.
    pub async fn send(&mut self, item: T) {
        let mut item = Some(item);
        // The stream looks into the slot whenever the generator waits, and polls it again only
        // after that: nobody has to be woken.
        poll_fn(|_| {
            let mut slot = self.slot.lock();
            match (slot.is_some(), item.take()) {
                (false, None) => Poll::Ready(()),
                (false, Some(item)) => {
                    *slot = Some(item);
                    Poll::Pending
                }
                (true, unsent) => {
                    item = unsent;
                    Poll::Pending
                }
            }
        })
        .await;
    }
}

impl<T> fmt::Debug for Out<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Out")
    }
}

struct Generated<T, Fut> {
    slot: Slot<T>,
    /// `None` when the generator has returned.
    running: Option<Pin<Box<Fut>>>,
}

// The generator is boxed, and items are moved: nothing is pinned in here.
impl<T, Fut> Unpin for Generated<T, Fut> {}

impl<T, Fut: Future<Output = ()>> Stream for Generated<T, Fut> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(running) = &mut self.running else { return Poll::Ready(take(&self.slot)) };
        let returned = running.as_mut().poll(context).is_ready();
        if returned {
            self.running = None;
        }
        match take(&self.slot) {
            Some(item) => Poll::Ready(Some(item)),
            None if returned => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::{FutureExt, StreamExt};
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn items_come_in_order_and_the_end_after_them() {
        let items = stream(|mut out| async move {
            for i in 0..3 {
                out.send(i).await;
                tokio::task::yield_now().await;
            }
        });
        assert_eq!(items.collect::<Vec<_>>().await, [0, 1, 2]);
        assert_eq!(stream(|_: Out<u8>| async {}).count().await, 0);
    }

    #[tokio::test]
    async fn the_generator_does_not_run_ahead() {
        let reached = AtomicU32::new(0);
        let counter = &reached;
        let mut items = Box::pin(stream(|mut out| async move {
            loop {
                let next = counter.fetch_add(1, Ordering::SeqCst);
                out.send(next).await;
            }
        }));
        for i in 0..3 {
            assert_eq!(items.next().await, Some(i));
            assert_eq!(reached.load(Ordering::SeqCst), i + 1);
        }
    }

    #[tokio::test]
    async fn a_send_that_is_given_up_sends_all_the_same() {
        let items = stream(|mut out| async move {
            assert!(out.send(1).now_or_never().is_none());
            out.send(2).await;
        });
        assert_eq!(items.collect::<Vec<_>>().await, [1, 2]);
    }

    #[tokio::test]
    async fn what_waits_is_woken() {
        let (ask, asked) = tokio::sync::oneshot::channel();
        let mut items = Box::pin(stream(|mut out| async move {
            out.send(asked.await.unwrap()).await;
        }));
        assert!(items.next().now_or_never().is_none());
        let reading = tokio::spawn(async move { items.next().await });
        ask.send(7).unwrap();
        assert_eq!(reading.await.unwrap(), Some(7));
    }
}
