//! What becomes of calls, and which nodes are avoided because of it.

use std::sync::atomic::Ordering;

use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::outlier::CallWindow;
use crate::gateway::routing::router::Router;

impl<H: NodeHandle> Router<H> {
    /// Records that a call at a node has succeeded.
    pub(super) fn record_success(&self, node: &RoutedNode<H>, index: usize, is_probe: bool) {
        let offered = &node.offers()[index];
        offered.ejection.record(false);
        if is_probe && offered.ejection.is_ejected() && offered.ejection.probe_succeeded() {
            self.lock().registry.restore(node, &offered.offer.name, self.clock.now());
        }
    }

    /// Records that a call at a node has failed, and avoids the node if it fails more often than
    /// the others.
    pub(super) fn record_failure(&self, node: &RoutedNode<H>, index: usize, is_probe: bool) {
        let offered = &node.offers()[index];
        let (now, name) = (self.clock.now(), &offered.offer.name);
        offered.latency.record_failure(now);
        let window = offered.ejection.record(true);
        let is_outlier = match offered.ejection.is_ejected() {
            // A call that began before the ejection says nothing new.
            true => is_probe,
            false => self.is_outlier(node, name, window),
        };
        if is_outlier && self.lock().registry.eject(node, name, now) {
            self.ejections.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                node = node.id(), function = %name, calls = window.n_calls(),
                "calls keep failing at a node, which is avoided for a while"
            );
        }
    }

    fn is_outlier(&self, node: &RoutedNode<H>, function: &str, window: CallWindow) -> bool {
        if !self.outliers.may_be_outlier(window) {
            return false;
        }
        let table = self.table.load();
        let Some(function) = table.function(function) else { return false };
        let n = function.routes.len();
        let first = fastrand::usize(..n);
        let routes = (first..first + n).map(|at| &function.routes[at % n]);
        let others = routes.filter(|other| !std::ptr::eq(&*other.node, node));
        let others = others.map(|other| &other.offered().ejection);
        // Those that are avoided are no measure of what is usual.
        let in_use = others.filter(|other| !other.is_ejected()).map(|other| other.window());
        let called = in_use.filter(|window| window.n_calls() > 0).take(MAX_COMPARED);
        self.outliers.is_outlier(window, &called.collect::<Vec<_>>())
    }
}

/// Most nodes that a failing node is compared with, so that a function which fails everywhere does
/// not make each failure more expensive the more nodes there are.
const MAX_COMPARED: usize = 32;
