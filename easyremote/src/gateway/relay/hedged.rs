//! Where the calls run that may be made a second time, at another node.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::wire::header::{CallHeader, CallId};
use crate::wire::routing_options::HedgeLeg;

/// The calls of one caller that may be hedged, each with its node. Has an entry per open call.
#[derive(Debug, Default)]
pub(super) struct HedgedCalls(Mutex<HashMap<CallId, Option<String>>>);

/// The entry of a call in [`HedgedCalls`], removed when the call has ended at the gateway.
#[derive(Debug)]
pub(super) struct HedgedEntry {
    calls: Arc<HedgedCalls>,
    id: CallId,
}

impl HedgedCalls {
    /// Enters a call that may be hedged; lets a hedge avoid the node of the first call.
    pub(super) fn enter(self: &Arc<Self>, header: &mut CallHeader) -> Option<Box<HedgedEntry>> {
        match header.routing.hedge? {
            HedgeLeg::First => {
                self.0.lock().insert(header.id, None);
                Some(Box::new(HedgedEntry { calls: self.clone(), id: header.id }))
            }
            HedgeLeg::Second => {
                header.routing.not_on = self.0.lock().get(&header.id).cloned().flatten();
                None
            }
        }
    }
}

impl HedgedEntry {
    /// Records the node that the call goes to.
    pub(super) fn note(&self, node: &str) {
        // The id may have been reused by a caller that breaks the rules: its hedges go anywhere.
        if let Some(place) = self.calls.0.lock().get_mut(&self.id) {
            *place = Some(node.to_owned());
        }
    }
}

impl Drop for HedgedEntry {
    fn drop(&mut self) {
        self.calls.0.lock().remove(&self.id);
    }
}
