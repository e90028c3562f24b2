//! The open connections of one thread of a gateway, so that all can be closed at once.

use std::collections::HashMap;

use parking_lot::{Mutex, MutexGuard};
use quinn::VarInt;

use crate::transport::quic::goodbye::ClosedConnection;

/// The connections of one thread whose handshake is complete.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<HashMap<usize, quinn::Connection>>);

impl Connections {
    /// Adds `connection` until the returned guard is dropped.
    pub(super) fn add(&self, connection: &quinn::Connection) -> OpenConnection<'_> {
        let id = connection.stable_id();
        self.lock().insert(id, connection.clone());
        OpenConnection { connections: self, id }
    }

    /// Closes all connections, and returns them. Call this on the thread that they belong to, where
    /// nothing else runs meanwhile, after [`Ending::begin`](super::ending::Ending::begin).
    pub(super) fn close_all(&self, code: VarInt, reason: &[u8]) -> Vec<ClosedConnection> {
        let connections = self.lock();
        connections.values().map(|it| ClosedConnection::new(it.clone(), code, reason)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, quinn::Connection>> {
        // Nothing panics while the lock is held.
        self.0.lock()
    }
}

/// A guard that keeps a connection in the list.
#[derive(Debug)]
pub(super) struct OpenConnection<'a> {
    connections: &'a Connections,
    /// The connection's stable id: unique, because the map holds the connection.
    id: usize,
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        // Drop the connection after the lock is released: it may be the last handle.
        let connection = self.connections.lock().remove(&self.id);
        drop(connection);
    }
}
