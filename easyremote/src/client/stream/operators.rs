//! The operators of a stream: set on the call, applied by its node.
//!
//! The macro `operators!` writes their setters once, and implements them for each type of stream.

/// Implements the setters of operators for a type, except `batches`, which changes the type.
///
/// The type has a method `operator(&mut self, Operator)`. `$call` is the beginning of the statement
/// that sets the operator in the examples.
macro_rules! operators {
    ($call:literal, $($head:tt)*) => {
        $($head)* {
            /// Ends the stream after `items` further items, errors of items included.
            ///
            /// The node stops the function after the last item.
            /// [`StreamExt::take`](futures::StreamExt::take) does not tell the node, which then
            /// produces items ahead until the stream is dropped.
            ///
            /// Among other operators it has its place: `skip(1).take(3)` passes items 2 to 4, and
            /// `take(3).skip(1)` items 2 and 3. If it is set several times in a row, the smallest
            /// number counts. After the first poll it acts at the client only.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".take(3); // the function may be endless", ""
            )]
            /// ```
            #[doc(alias = "limit")]
            pub fn take(mut self, items: usize) -> Self {
                self.operator($crate::wire::operators::Operator::Take(items as u64));
                self
            }

            /// Leaves out the first `items` items.
            ///
            /// After the first poll it acts at the client, on what arrives from then on.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".skip(10);", "")]
            /// ```
            #[doc(alias = "offset")]
            pub fn skip(mut self, items: usize) -> Self {
                self.operator($crate::wire::operators::Operator::Skip(items as u64));
                self
            }

            /// Passes the first item, and then every `step`-th behind it, like
            /// [`Iterator::step_by`]: with a step of 3 the items 1, 4, 7 and so on.
            ///
            /// A step of 0 is an error: the stream fails with
            /// [`InvalidInput`](crate::ErrorKind::InvalidInput). After the first poll it acts at the
            /// client, on what arrives from then on.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".every(10);", "")]
            /// ```
            #[doc(alias = "step_by")]
            #[doc(alias = "decimate")]
            pub fn every(mut self, step: usize) -> Self {
                self.operator($crate::wire::operators::Operator::Every(step as u64));
                self
            }

            /// Passes at most one item per `interval`, the newest.
            ///
            /// The first item passes at once, and opens an interval. What the function produces in
            /// it is replaced by what is newer, and left out; at its end the newest item passes and
            /// opens the next one. An item for which none is open passes at once. The function is
            /// never held up, however slowly the items are read: the node keeps one. An error and
            /// the end of the stream are preceded by the newest item, and do not wait.
            ///
            /// Intervals count as at most a year. To be set before the first poll.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".sample(Duration::from_millis(100));",
                "use std::time::Duration;\n\n"
            )]
            /// ```
            #[doc(alias = "throttle")]
            #[doc(alias = "rate limit")]
            pub fn sample(mut self, interval: std::time::Duration) -> Self {
                self.operator($crate::wire::operators::Operator::Sample(interval));
                self
            }

            /// Sends the newest item each time the reader asks for one.
            ///
            /// At most one item is on its way. The next one is sent when the reader has taken it,
            /// which means that it has been returned and the stream is polled again. What the
            /// function has produced meanwhile is left out, except the newest. So the age of an item
            /// is at most one interval of the function and one round trip, however slowly the items
            /// are read, and a slow reader costs no memory: the node keeps one item. The function is
            /// never held up, except behind an error that has not been sent. An error and the end of
            /// the stream are preceded by the newest item.
            ///
            /// To be set before the first poll.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".latest();", "")]
            /// ```
            #[doc(alias = "conflate")]
            #[doc(alias = "on_backpressure_latest")]
            pub fn latest(mut self) -> Self {
                self.operator($crate::wire::operators::Operator::Latest);
                self
            }

            /// Leaves out an item whose encoding equals that of the one before.
            ///
            /// The first item behind an error passes, whatever was before. After the first poll it
            /// acts at the client, on what arrives from then on.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".dedup();", "")]
            /// ```
            #[doc(alias = "distinct_until_changed")]
            pub fn dedup(mut self) -> Self {
                self.operator($crate::wire::operators::Operator::Dedup);
                self
            }

            /// Limits how far the function may run ahead of the reader, in encoded bytes that have
            /// not been taken.
            ///
            /// With 0 it produces one item at a time: the next one when the reader has taken the
            /// last. Each item counts with its length and 5 bytes, and the function may exceed the
            /// limit by one item; an iterator behind `sample`, `latest` or `batches` by three.
            /// Default: what the connections have room for, which is 0.5 MiB to 8 MiB. Its place
            /// among other operators does not matter; of several, the smallest counts. While a
            /// function that takes a client stream does not read it, it is not held up.
            ///
            /// To be set before the first poll.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".buffer(64 << 10);", "")]
            /// ```
            #[doc(alias = "prefetch")]
            #[doc(alias = "high water mark")]
            pub fn buffer(mut self, bytes: usize) -> Self {
                self.operator($crate::wire::operators::Operator::Buffer(bytes as u64));
                self
            }
        }
    };
}
pub(in crate::client) use operators;
