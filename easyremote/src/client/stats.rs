//! What a client counts.

use std::sync::atomic::Ordering;

use crate::client::handle::Client;

/// What a client is doing, and has done: all clones and [handles](Client::with) of it together.
///
/// A client from [`Context::client`](crate::Context::client) counts what all functions of its node
/// call over that connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStats {
    /// Whether there is a connection to a gateway now. One that is lost counts until that is
    /// noticed, after some 8 s at most.
    pub connected: bool,
    /// Calls and streams under way, those that wait included. A stream is, until its last item has
    /// come or it is dropped.
    pub in_flight: u64,
    /// Those of them that give a stream.
    pub streams: u64,
    /// Those of them that wait for a connection.
    pub parked: u64,
    /// Bytes of arguments that those hold.
    pub parked_bytes: u64,
    /// Calls and streams begun since the start.
    pub calls: u64,
    /// How often one of them was made again since the start: see [`Retry`](crate::Retry).
    pub retries: u64,
    /// Connections since the start that took the place of one that was lost, or whose gateway drains
    /// or has no nodes.
    pub reconnects: u64,
}

impl Client {
    /// What the client is doing, and has done. A call that is dropped counts as one under way for
    /// another moment.
    #[must_use]
    pub fn stats(&self) -> ClientStats {
        let (link, tally) = (&self.link, self.link.tally());
        let (parked, parked_bytes) = link.parked();
        ClientStats {
            connected: link.is_connected(),
            in_flight: tally.in_flight.load(Ordering::Relaxed),
            streams: tally.streams.load(Ordering::Relaxed),
            parked,
            parked_bytes,
            calls: tally.calls.load(Ordering::Relaxed),
            retries: tally.retries.load(Ordering::Relaxed),
            reconnects: link.reconnects.load(Ordering::Relaxed),
        }
    }
}
