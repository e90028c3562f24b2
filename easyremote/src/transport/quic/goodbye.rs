//! Goodbye: makes sure that the packet that closes a connection is sent.

use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::transport::quinn_ext::congestion;

/// A connection that this side has closed; its peer may not have been notified yet.
#[derive(Debug)]
pub(crate) struct ClosedConnection {
    connection: Connection,
    /// Datagrams that it had sent before.
    before: u64,
}

/// A dialler's endpoint whose connection is closed, and whose gateway has been notified.
#[derive(Debug)]
pub(crate) struct ClosedEndpoint(quinn::Endpoint);

/// Maximum time to notify peers, and again for QUIC to finish with their connections.
const FAREWELL: Duration = Duration::from_millis(100);

impl ClosedConnection {
    /// Closes `connection`. Call this on the I/O thread.
    pub(crate) fn new(connection: Connection, code: VarInt, reason: &[u8]) -> Self {
        let before = sent(&connection);
        congestion::close(&connection, code, reason);
        Self { connection, before }
    }

    /// Returns whether the closing packet has not been sent yet. A connection that the peer has
    /// closed has none.
    fn is_untold(&self) -> bool {
        matches!(self.connection.close_reason(), Some(ConnectionError::LocallyClosed))
            && sent(&self.connection) == self.before
    }
}

impl ClosedEndpoint {
    /// Closes `connection`, the only one of `endpoint`, and waits until its peer has been [`told`].
    pub(crate) async fn new(
        endpoint: quinn::Endpoint,
        connection: Connection,
        code: VarInt,
        reason: &[u8],
    ) -> Self {
        told(vec![ClosedConnection::new(connection, code, reason)]).await;
        Self(endpoint)
    }

    /// Like [`drained`].
    pub(crate) async fn drained(self) {
        drained(&self.0).await;
    }
}

fn sent(connection: &Connection) -> u64 {
    connection.stats().udp_tx.datagrams
}

/// Waits until the closing packet of each of `connections` has been passed to the operating system,
/// which usually takes microseconds, and 100 ms at most. Call this on the I/O thread.
///
/// The process may exit afterwards: the packets are sent nevertheless.
pub(crate) async fn told(connections: Vec<ClosedConnection>) {
    /// The driver of a connection sends as soon as it is polled.
    const TURNS: usize = 16;
    let all = async {
        for connection in connections {
            let mut turns = 0;
            while connection.is_untold() {
                match turns < TURNS {
                    true => yield_now().await,
                    // The socket's buffer is full.
                    false => sleep(Duration::from_millis(1)).await,
                }
                turns += 1;
            }
        }
    };
    let _ = timeout(FAREWELL, all).await;
}

/// Waits until no peer is expected to send anything more, for at most 100 ms. Meanwhile, packets of
/// closed connections are answered with another close: the first one may have been lost.
pub(crate) async fn drained(endpoint: &quinn::Endpoint) {
    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
}
