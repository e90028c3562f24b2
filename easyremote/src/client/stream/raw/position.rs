//! Where a stream with a replay ring is, and how it goes on there.

use tokio_util::sync::CancellationToken;

use super::{RawStream, StreamState};
use crate::client::handle::Client;
use crate::client::pending_call::PendingCall;
use crate::client::ring::StreamPosition;

impl RawStream {
    /// Creates the rest of a stream behind `position`.
    pub(in crate::client) fn continued(
        client: &Client,
        function: String,
        position: StreamPosition,
    ) -> Self {
        let items = position.taken;
        let pending = PendingCall::continued(client, function, position);
        // An item proves that it was set up.
        Self { items, opened: items > 0, ..Self::new(Ok(pending)) }
    }

    /// Returns what is cancelled once the node has said that it has the stream; `None` if the stream has
    /// no replay ring, or was not polled yet, or is over.
    pub(in crate::client) fn attached(&self) -> Option<CancellationToken> {
        match &self.state {
            StreamState::Running { leg: Some(leg), .. } => Some(leg.ring()?.attached()),
            _ => None,
        }
    }

    /// Returns the position behind the last item. `None` if the stream has no replay ring, or has not
    /// begun, or is over.
    pub(in crate::client) fn position(&self) -> Option<StreamPosition> {
        match &self.state {
            StreamState::Running { leg: Some(leg), .. } => leg.ring()?.position(self.items),
            _ => None,
        }
    }
}
