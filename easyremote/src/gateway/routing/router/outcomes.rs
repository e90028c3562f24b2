//! Outcomes of calls, and ejection of the nodes that fail.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::outlier::CallWindow;
use crate::gateway::routing::router::Router;
use crate::gateway::routing::table::{FunctionTable, RoutingTable};

impl<H: NodeHandle> Router<H> {
    /// Records that a call at a node has succeeded.
    pub(super) fn record_success(&self, node: &RoutedNode<H>, index: usize, is_probe: bool) {
        let offered = &node.offers()[index];
        offered.ejection.record(false);
        if is_probe && offered.ejection.is_ejected() && offered.ejection.probe_succeeded() {
            self.restore(node, index, self.clock.now());
        }
    }

    /// Records that a call at a node has failed, and ejects the node if it fails more often than
    /// the others.
    pub(super) fn record_failure(&self, node: &RoutedNode<H>, index: usize, is_probe: bool) {
        let offered = &node.offers()[index];
        let (now, name) = (self.clock.now(), &offered.offer.name);
        offered.latency.record_failure(now);
        let window = offered.ejection.record(true);
        let is_outlier = match offered.ejection.is_ejected() {
            // A call that started before the ejection adds no information.
            true => is_probe,
            false => self.is_outlier(node, name, window),
        };
        if is_outlier && self.eject(node, name, now) {
            self.ejections.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = self.ejection_log.next(node.identity().clone()) {
                tracing::warn!(
                    node = node.id(), function = %name, calls = window.n_calls(), left_out,
                    "avoiding a node whose calls keep failing"
                );
            }
        }
    }

    /// Ejects a node for a function, or extends its ejection, unless too many nodes of the function
    /// are ejected. Returns whether it was ejected.
    fn eject(&self, node: &RoutedNode<H>, function: &str, now: Duration) -> bool {
        let _state = self.lock();
        let snapshot = self.table.load();
        let Some(table) = snapshot.function(function) else { return false };
        let own = table.routes.iter().find(|route| std::ptr::eq(&*route.node, node));
        let Some(own) = own else { return false };
        // Of several calls that fail at the same time, only one starts or extends the ejection.
        if now < own.offered().ejection.end() {
            return false;
        }
        let others = table.routes.iter().filter(|other| other.offered().ejection.is_ejected());
        let others = others.filter(|other| !std::ptr::eq(&*other.node, node)).count();
        if others >= self.outliers.max_ejected(table.routes.len()) {
            return false;
        }
        own.offered().ejection.eject(now, &self.outliers);
        count_ejected(table);
        true
    }

    /// Ends the ejection of a node for the function with this index among its offers.
    fn restore(&self, node: &RoutedNode<H>, index: usize, now: Duration) {
        let _state = self.lock();
        let offered = &node.offers()[index];
        if now < offered.ejection.end() {
            // Another probe has failed meanwhile.
            return;
        }
        offered.latency.reset();
        offered.ejection.restore(now);
        if let Some(table) = self.table.load().function(&offered.offer.name) {
            count_ejected(table);
        }
    }

    /// Cancels ejections if too many nodes are ejected now that `node` has left. Call under the
    /// lock.
    pub(super) fn readmit(&self, table: &RoutingTable<H>, node: &RoutedNode<H>) {
        let functions = node.offers().iter().map(|offered| &offered.offer.name);
        for table in functions.filter_map(|name| table.function(name)) {
            let most = self.outliers.max_ejected(table.routes.len());
            while table.counters.n_ejected.load(Ordering::Acquire) > most {
                let ejected = table.routes.iter().map(|route| &route.offered().ejection);
                let ejected = ejected.filter(|ejection| ejection.is_ejected());
                // The one that would end first.
                let Some(next) = ejected.min_by_key(|ejection| ejection.end()) else { break };
                next.cancel();
                count_ejected(table);
            }
        }
    }

    /// Updates the number of ejected nodes of a function whose nodes have changed. Call under the
    /// lock.
    pub(super) fn recount_ejected(table: &FunctionTable<H>) {
        // A node that registers is not ejected, so 0 stays 0.
        if table.counters.n_ejected.load(Ordering::Acquire) > 0 {
            count_ejected(table);
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
        // Ejected nodes are no measure of the usual rate.
        let in_use = others.filter(|other| !other.is_ejected()).map(|other| other.window());
        let called = in_use.filter(|window| window.n_calls() > 0).take(MAX_COMPARED);
        self.outliers.is_outlier(window, &called.collect::<Vec<_>>())
    }
}

/// Stores the number of ejected nodes of a function.
fn count_ejected<H>(table: &FunctionTable<H>) {
    let ejected = table.routes.iter().filter(|route| route.offered().ejection.is_ejected());
    table.counters.n_ejected.store(ejected.count(), Ordering::Release);
}

/// Maximum number of nodes that a failing node is compared with, so that the cost of a failure does
/// not grow with the number of nodes when a function fails everywhere.
const MAX_COMPARED: usize = 32;
