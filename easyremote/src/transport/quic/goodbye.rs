//! Leaving: the packet that closes a connection.

use std::time::Duration;

use quinn::{Connection, ConnectionError, VarInt};
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::transport::quinn_ext::congestion;

/// A connection that is closed, whose peer may not have been told.
#[derive(Debug)]
pub(crate) struct ClosedConnection {
    connection: Connection,
    /// Datagrams that it had sent before.
    before: u64,
}

/// A dialler's endpoint whose connection is closed, and whose gateway has been told.
#[derive(Debug)]
pub(crate) struct ClosedEndpoint(quinn::Endpoint);

/// Longest wait for peers to be told, and again for QUIC to be done with their connections.
const FAREWELL: Duration = Duration::from_millis(100);

impl ClosedConnection {
    /// Closes `connection`. To be called on the I/O thread.
    pub(crate) fn new(connection: Connection, code: VarInt, reason: &[u8]) -> Self {
        let before = sent(&connection);
        congestion::close(&connection, code, reason);
        Self { connection, before }
    }

    /// Whether the packet that says so has not been sent. One that the peer has closed has none.
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

    /// As [`drained`].
    pub(crate) async fn drained(self) {
        drained(&self.0).await;
    }
}

fn sent(connection: &Connection) -> u64 {
    connection.stats().udp_tx.datagrams
}

/// Waits until the system has the last packet of each of `connections`, which takes some
/// microseconds as a rule, and 100 ms at most. To be called on the I/O thread.
///
/// From then on the process may end: the peers hear of it all the same.
pub(crate) async fn told(connections: Vec<ClosedConnection>) {
    /// The driver of a connection sends as soon as it has its turn.
    const TURNS: usize = 16;
    let all = async {
        for connection in connections {
            let mut turns = 0;
            while connection.is_untold() {
                match turns < TURNS {
                    true => yield_now().await,
                    // The socket takes nothing more for now.
                    false => sleep(Duration::from_millis(1)).await,
                }
                turns += 1;
            }
        }
    };
    let _ = timeout(FAREWELL, all).await;
}

/// Waits until no peer is expected to send anything more, and closes again what does, for 100 ms at
/// most: the packet that closed a connection may have been lost.
pub(crate) async fn drained(endpoint: &quinn::Endpoint) {
    let _ = timeout(FAREWELL, endpoint.wait_idle()).await;
}
