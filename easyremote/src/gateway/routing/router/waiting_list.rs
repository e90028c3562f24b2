//! Who waits for what, and why.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::gateway::routing::diagnostics::{Diagnosis, stream_elsewhere};
use crate::gateway::routing::node::NodeHandle;
use crate::gateway::routing::router::Router;
use crate::gateway::routing::table::RoutingTable;
use crate::gateway::routing::waits::{WaitStart, WaitingCallInfo, WaitingEntry};
use crate::wire::header::CallHeader;

impl<H: NodeHandle> Router<H> {
    pub(super) fn begin_wait(&self) -> WaitStart {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        WaitStart { ticket, since: Instant::now() }
    }

    /// Returns up to `n` of the waiting calls, with the reason of each, and how many others there
    /// are.
    #[cfg_attr(not(feature = "http"), allow(dead_code))] // shown by the HTTP server
    pub(crate) fn waiting_calls(&self, n: usize) -> (Vec<WaitingCallInfo>, u64) {
        let (mut waiting, n_queued): (Vec<WaitingEntry>, _) = {
            let state = self.lock();
            let first = state.queues.first(n).into_iter();
            let first = first.map(|call| (call.start, call.header.clone()));
            (first.collect(), state.queues.n_calls())
        };
        waiting.extend(self.absent.first(n - waiting.len()));
        let more = (n_queued + self.absent.n_calls()).saturating_sub(waiting.len()) as u64;
        let (table, mut reasons) = (self.table.load(), Reasons::default());
        let with_reason = |(start, header): WaitingEntry| {
            let reason = reasons.of(&header, |header| self.reason_to_wait(&table, header));
            WaitingCallInfo { start, header, reason }
        };
        (waiting.into_iter().map(with_reason).collect(), more)
    }

    /// Returns what a call waits for, and why.
    fn reason_to_wait(&self, table: &RoutingTable<H>, header: &CallHeader) -> String {
        if header.continues() {
            return stream_elsewhere(header).to_string();
        }
        let balancer = self.balancer(table, header);
        match balancer.is_routable() {
            true => balancer.lacks_room(),
            // It waits for a node, whether or not one was ever here.
            false => {
                let (names, is_known) = (None, &|_: &str| true);
                Diagnosis { table, access: &self.access, names, is_known }
                    .explain(header)
                    .to_string()
            }
        }
    }
}

/// Why calls wait. Calls with the same requirements share a reason, and are common.
#[derive(Default)]
struct Reasons(HashMap<String, Vec<KnownReason>>);

/// A call, and why it waits.
type KnownReason = (Arc<CallHeader>, Arc<str>);

/// Maximum number of reasons that are kept for one function. Beyond it, each is found again.
const MAX_REASONS: usize = 8;

impl Reasons {
    fn of(
        &mut self,
        header: &Arc<CallHeader>,
        find: impl FnOnce(&CallHeader) -> String,
    ) -> Arc<str> {
        let known = self.0.entry(header.function.to_string()).or_default();
        let same = known.iter().find(|(other, _)| asks_for_the_same(other, header));
        if let Some((_, reason)) = same {
            return reason.clone();
        }
        let reason: Arc<str> = find(header).into();
        if known.len() < MAX_REASONS {
            known.push((header.clone(), reason.clone()));
        }
        reason
    }
}

/// Returns whether two calls of one function can run at the same nodes.
fn asks_for_the_same(one: &CallHeader, other: &CallHeader) -> bool {
    let asks = |it: &CallHeader| (it.kind, it.fingerprint, it.continues());
    asks(one) == asks(other)
        && one.routing == other.routing
        && one.key == other.key
        && one.operators == other.operators
}
