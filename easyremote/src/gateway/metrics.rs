//! The metrics of a gateway.

use crate::exposition::nodes::NodeFigures;
use crate::exposition::{MetricFamilies, MetricUnit, MetricsFormat, functions, nodes};
use crate::gateway::Gateway;
use crate::gateway::limits::GatewayLimits;
use crate::gateway::state::GatewayState;
use crate::wire::directory::{GatewayStats, LimitHits, NodeInfo};

/// Most nodes with metrics of their own, the first by id: what a node reports is a series for each
/// of its gauges, and who may offer functions may start any number of nodes.
const MAX_NODES: usize = 1_024;

impl Gateway {
    /// Returns what the gateway counts as metrics in the Prometheus text format, for a scraper.
    ///
    /// It is read from the same figures as [`stats`](Self::stats), [`functions`](Self::functions),
    /// [`nodes`](Self::nodes) and [`streams`](Self::streams) now, which takes some milliseconds with a
    /// thousand functions or nodes; calls never wait for it. The guide lists the metrics
    /// ([operations](https://github.com/easyremote/easyremote/blob/main/docs/operations.md#numbers)).
    /// It names functions and nodes, so serve it to those who may know them.
    ///
    /// The text may be put together with that of another registry, as its families are all named
    /// `easyremote_..`. Those of several roles have the same families: serve each by itself.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let text = gateway.metrics();
    /// assert!(text.contains("# TYPE easyremote_gateway_connections gauge\n"));
    /// assert!(text.contains("easyremote_gateway_connections{role=\"gateway\"} 0\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "prometheus")]
    #[doc(alias = "exposition")]
    #[must_use]
    pub fn metrics(&self) -> String {
        self.metrics_in(MetricsFormat::default())
    }

    /// Returns [`metrics`](Self::metrics) in the given format, for a server that
    /// [asks the scraper](MetricsFormat::of_accept).
    ///
    /// ```
    /// use easyremote::gateway::MetricsFormat;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let format = MetricsFormat::of_accept("application/openmetrics-text; version=1.0.0");
    /// assert!(gateway.metrics_in(format).ends_with("# EOF\n"));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "openmetrics")]
    #[must_use]
    pub fn metrics_in(&self, format: MetricsFormat) -> String {
        self.shared.metrics(format)
    }
}

impl GatewayState {
    /// Returns the metrics of the gateway.
    pub(super) fn metrics(&self, format: MetricsFormat) -> String {
        let mut all = MetricFamilies::new("gateway");
        let router = &self.dispatcher.router;
        let (stats, by_function) = (self.stats(), router.functions());
        put_peers(&mut all, &stats);
        put_refusals(&mut all, self);
        put_hits(&mut all, &stats.hits);
        put_limits(&mut all, &self.limits);
        functions::put(&mut all, &by_function);
        functions::put_streams(&mut all, &by_function, &self.streams.stats());
        put_nodes(&mut all, router.nodes());
        all.encode(format)
    }
}

fn put_peers(all: &mut MetricFamilies, stats: &GatewayStats) {
    let GatewayStats { connections, unauthenticated, clients, nodes, .. } = *stats;
    for (name, help, value) in [
        ("easyremote_gateway_connections", "Open connections.", connections),
        (
            "easyremote_gateway_unauthenticated_connections",
            "Open connections whose peers have not authenticated yet.",
            unauthenticated,
        ),
        ("easyremote_gateway_clients", "Connected clients, admins included.", clients),
        ("easyremote_gateway_nodes", "Registered nodes.", nodes),
        (
            "easyremote_gateway_calls_in_flight",
            "Calls in flight, those that wait and requests about jobs included.",
            stats.in_flight,
        ),
        (
            "easyremote_gateway_calls_waiting",
            "Calls that wait for a node, or for room at one.",
            stats.waiting,
        ),
    ] {
        all.gauge(name, MetricUnit::None, help).whole(&[], value);
    }
    let help = "Calls received, requests about jobs and lists included.";
    all.counter("easyremote_gateway_calls", MetricUnit::None, help).whole(&[], stats.calls);
    let help = "Times that a node was avoided because its calls of a function kept failing.";
    all.counter("easyremote_gateway_ejections", MetricUnit::None, help).whole(&[], stats.ejections);
}

fn put_refusals(all: &mut MetricFamilies, state: &GatewayState) {
    let mut refused = all.counter(
        "easyremote_gateway_refused_peers",
        MetricUnit::None,
        "Peers that were rejected, by the kind of error that they were told.",
    );
    for (kind, n) in state.refused.by_kind() {
        refused.whole(&[("reason", &functions::snake(kind))], n);
    }
}

fn put_hits(all: &mut MetricFamilies, hits: &LimitHits) {
    let mut family = all.counter(
        "easyremote_gateway_limit_hits",
        MetricUnit::None,
        "Times that a limit for peers was reached.",
    );
    for (limit, n) in [
        ("connections", hits.connections),
        ("per_address", hits.per_address),
        ("evicted", hits.evicted),
        ("retries", hits.retries),
        ("handshake_timeouts", hits.handshake_timeouts),
        ("authentication_timeouts", hits.authentication_timeouts),
        ("header_timeouts", hits.header_timeouts),
        ("progress_timeouts", hits.progress_timeouts),
        ("buffered", hits.buffered),
        ("throttled", hits.throttled),
        ("questions", hits.questions),
    ] {
        family.whole(&[("limit", limit)], n);
    }
}

fn put_limits(all: &mut MetricFamilies, limits: &GatewayLimits) {
    let mut family = all.gauge(
        "easyremote_gateway_limit",
        MetricUnit::None,
        "What the gateway allows its peers.",
    );
    for (limit, value) in [
        ("connections", limits.connections),
        ("connections_per_address", limits.connections_per_address),
        ("unauthenticated", limits.unauthenticated),
        ("calls_per_peer", limits.calls_per_peer as usize),
    ] {
        family.whole(&[("limit", limit)], value as u64);
    }
    let mut family = all.gauge(
        "easyremote_gateway_memory_limit",
        MetricUnit::Bytes,
        "Longest message, and most bytes that are buffered for one peer.",
    );
    family.whole(&[("budget", "message")], limits.max_message as u64);
    family.whole(&[("budget", "buffered_per_peer")], limits.buffered_per_peer);
}

fn put_nodes(all: &mut MetricFamilies, nodes: Vec<NodeInfo>) {
    let nodes: Vec<_> = nodes.into_iter().take(MAX_NODES).collect();
    let mut family = all.gauge(
        "easyremote_gateway_node_calls_in_flight",
        MetricUnit::None,
        "Calls from this gateway that a node runs or has in its queue.",
    );
    for node in &nodes {
        family.whole(&[("node", &node.id)], node.in_flight);
    }
    let mut family = all.gauge(
        "easyremote_gateway_node_avoided_functions",
        MetricUnit::None,
        "Functions for which a node is avoided, because its calls of them keep failing.",
    );
    for node in &nodes {
        family.whole(&[("node", &node.id)], node.avoided_for.len() as u64);
    }
    let figures = |NodeInfo { id, load, gauges, .. }| NodeFigures { id, load, gauges };
    nodes::put(all, &nodes.into_iter().map(figures).collect::<Vec<_>>());
}
