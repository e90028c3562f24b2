//! Counters of a client.

use std::sync::atomic::Ordering;

use crate::client::handle::Client;

/// A snapshot of a client's counters, from [`Client::stats`].
///
/// All clones and [handles](Client::with) of a client are counted together. A client from
/// [`Context::client`](crate::Context::client) counts the nested calls of all functions of its node
/// over that connection.
#[doc(alias = "metrics")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Whether a connection to a gateway is up. A lost connection counts until the loss is
    /// detected, at most about 8 s later.
    pub connected: bool,
    /// Calls and streams in flight, including those that wait. A stream is in flight until its last
    /// item has arrived, or it is dropped.
    pub in_flight: u64,
    /// Streams in flight.
    pub streams: u64,
    /// Calls and streams in flight that wait for a connection.
    pub queued: u64,
    /// Bytes of arguments that the waiting calls hold.
    pub queued_bytes: u64,
    /// Calls and streams started since the client connected first.
    pub calls: u64,
    /// Retries since the client connected first; see [`Retry`](crate::Retry).
    pub retries: u64,
    /// Connections that replaced another one, which was lost, or whose gateway drains or has no
    /// nodes.
    pub reconnects: u64,
    /// Counter: fields that were left out of results, errors and items, because this client does not
    /// know them. Only calls of functions with `skew = "lossy"` leave fields out.
    pub left_out: u64,
}

impl Client {
    /// Returns the current counters. Does no I/O. A dropped call counts as in flight for another
    /// moment.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::connect(gateway.local_addr()).await?;
    /// let stats = client.stats();
    /// assert!(stats.connected && stats.in_flight == 0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "metrics")]
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let (link, tally) = (&self.link, self.link.tally());
        let (queued, queued_bytes) = link.queued();
        ClientStats {
            connected: link.is_connected(),
            in_flight: tally.in_flight.load(Ordering::Relaxed),
            streams: tally.streams.load(Ordering::Relaxed),
            queued,
            queued_bytes,
            calls: tally.calls.load(Ordering::Relaxed),
            retries: tally.retries.load(Ordering::Relaxed),
            reconnects: link.reconnects.load(Ordering::Relaxed),
            left_out: tally.left_out.load(Ordering::Relaxed),
        }
    }
}
