//! Calls that continue a resumable stream: they go to the node that has it, and need no slot.
//!
//! Their function runs already and holds its permits at the node, so such a call must not wait for
//! another slot: with one slot it would wait for itself. It is counted once the node has confirmed
//! that it has the stream. Until then it is one of a limited number, because anybody can send it.

use std::sync::Arc;

use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::gateway::routing::diagnostics::{no_room, stream_elsewhere};
use crate::gateway::routing::node::NodeHandle;
use crate::gateway::routing::router::Router;
use crate::gateway::routing::router::permit::CallPermit;
use crate::gateway::routing::table::Route;
use crate::wire::header::CallHeader;

impl<H: NodeHandle> Router<H> {
    /// Returns a permit for a call that continues a stream, if its node is registered.
    ///
    /// # Errors
    /// `NoNode` if it is not, `Overloaded` if too many such calls wait for an answer of the node.
    pub(super) fn try_continue(
        self: &Arc<Self>,
        header: &CallHeader,
    ) -> Result<CallPermit<H>, Error> {
        let table = self.table.load();
        let node = header.routing.on.as_ref().and_then(|id| table.node(id));
        let route = node.and_then(|node| Route::to(node, &header.function));
        let Some(route) = route.filter(|route| !route.node.handle().is_closed()) else {
            return Err(stream_elsewhere(header));
        };
        match route.node.begin_continuing() {
            true => Ok(CallPermit::uncounted(self.clone(), route)),
            false => Err(no_room(&header.function)),
        }
    }

    /// Waits for the node of a call that continues a stream, as long as the call has patience.
    ///
    /// # Errors
    /// Those of [`try_continue`](Self::try_continue).
    pub(super) async fn acquire_continued(
        self: &Arc<Self>,
        header: &CallHeader,
    ) -> Result<CallPermit<H>, Error> {
        let start = self.begin_wait();
        loop {
            // Subscribe before looking, so that a node that registers in between is not missed.
            let grown = self.grown.notified();
            let error = match self.try_continue(header) {
                Err(error) if error.kind() == ErrorKind::NoNode => error,
                decided => return decided,
            };
            let patience = header.routing.patience.saturating_sub(start.since.elapsed());
            let _absent = self.absent.enter(header, start);
            if patience.is_zero() || timeout(patience, grown).await.is_err() {
                return Err(error);
            }
        }
    }
}
