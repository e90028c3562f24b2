//! The progress of the typed streams.

use crate::client::stream::raw::progress::StreamProgress;
use crate::client::stream::{OpenStream, StreamCall};
use crate::function::outcome::Value;
use crate::function::remote::RemoteStream;

impl<F: RemoteStream, T: Value> StreamCall<F, T> {
    /// Returns a live handle of the stream's progress: items, bytes, and who waits for whom.
    ///
    /// It may be called before the first poll and later, and the handle stays valid when the stream
    /// is [opened](Self::open), has ended or is dropped. All handles of a stream show the same
    /// figures. Items and bytes are counted from the beginning, times from the first call of this
    /// method on: a stream whose progress is not asked for reads no clock.
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
    /// let mut numbers = count::call(&client, 7).take(2);
    /// let progress = numbers.progress();
    /// numbers.next().await.unwrap()?;
    /// assert_eq!(progress.items(), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "metrics")]
    pub fn progress(&mut self) -> StreamProgress {
        self.raw.progress()
    }
}

impl<F: RemoteStream, T: Value> OpenStream<F, T> {
    /// Returns a live handle of the stream's progress; see [`StreamCall::progress`].
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
    /// let mut numbers = count::call(&client, 7).open().await?;
    /// let progress = numbers.progress();
    /// numbers.next().await.unwrap()?;
    /// assert_eq!(progress.items(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn progress(&mut self) -> StreamProgress {
        self.raw.progress()
    }
}
