//! The connections that a gateway has, so that all can be closed at once.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use quinn::VarInt;

use crate::transport::quic::goodbye::ClosedConnection;

/// All connections whose handshake is over.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<usize, quinn::Connection>>);

impl Connections {
    /// Counts `connection` among them until what this gives is dropped.
    pub(super) fn add(&self, connection: &quinn::Connection) -> OpenConnection<'_> {
        let id = connection.stable_id();
        self.lock().insert(id, connection.clone());
        OpenConnection { connections: self, id }
    }

    /// Closes all of them before anybody else has a turn, and returns them.
    ///
    /// One after the other, a node's session might end before that of a client whose call the node
    /// has: the client would hear that the node is lost, and not that the gateway is.
    pub(super) fn close_all(&self, code: VarInt, reason: &[u8]) -> Vec<ClosedConnection> {
        let connections = self.lock();
        connections.values().map(|it| ClosedConnection::new(it.clone(), code, reason)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, quinn::Connection>> {
        // Nothing panics in between.
        self.0.lock()
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub(super) struct OpenConnection<'a> {
    connections: &'a Connections,
    /// Of the connection, which is in the map, so that no other one has the same.
    id: usize,
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        // Dropped without the lock, should it be the last handle.
        let connection = self.connections.lock().remove(&self.id);
        drop(connection);
    }
}
