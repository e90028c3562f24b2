//! The metrics of a node.

use std::sync::atomic::Ordering;

use crate::exposition::nodes::NodeFigures;
use crate::exposition::{MetricFamilies, MetricUnit, MetricsFormat, functions, nodes};
use crate::node::state::NodeState;
use crate::node::{Node, NodeStats};

impl Node {
    /// Returns what the node counts as metrics in the Prometheus text format, for a scraper.
    ///
    /// It is read from the same figures as [`stats`](Self::stats), [`functions`](Self::functions),
    /// [`gauges`](Self::gauges) and [`streams`](Self::streams) now; calls never wait for it. The guide
    /// lists the metrics
    /// ([operations](https://github.com/easyremote/easyremote/blob/main/docs/operations.md#numbers)).
    ///
    /// A gateway knows most of it as well, so that a node behind NAT need not be scraped. Those of
    /// several roles have the same families: serve each text by itself.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let node = Node::builder(gateway.local_addr()).id("gpu-1").functions(functions![add]);
    /// let node = node.serve().await?;
    /// node.report("vram_free", 12.5)?;
    /// let line = "easyremote_node_reported{node=\"gpu-1\",name=\"vram_free\",role=\"node\"} 12.5\n";
    /// assert!(node.metrics().contains(line));
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
    /// use easyremote::node::MetricsFormat;
    /// # fn example(node: easyremote::Node) {
    ///
    /// let text = node.metrics_in(MetricsFormat::OpenMetrics);
    /// assert!(text.ends_with("# EOF\n"));
    /// # }
    /// ```
    #[doc(alias = "openmetrics")]
    #[must_use]
    pub fn metrics_in(&self, format: MetricsFormat) -> String {
        let mut all = MetricFamilies::new("node");
        put_stats(&mut all, &self.stats());
        put_memory(&mut all, &self.shared);
        let by_function = self.functions();
        functions::put(&mut all, &by_function);
        functions::put_streams(&mut all, &by_function, &self.streams());
        let (id, load) = (self.id().to_owned(), *self.shared.load.borrow());
        nodes::put(&mut all, &[NodeFigures { id, load, gauges: self.gauges() }]);
        all.encode(format)
    }
}

fn put_stats(all: &mut MetricFamilies, stats: &NodeStats) {
    let help = "Gateways that the node is registered at.";
    all.gauge("easyremote_node_gateways", MetricUnit::None, help).whole(&[], stats.gateways);
    let help = "Jobs at the node: live ones run or wait, kept ones have ended.";
    all.gauge("easyremote_node_jobs", MetricUnit::None, help)
        .whole(&[("state", "live")], stats.jobs)
        .whole(&[("state", "kept")], stats.kept_jobs);
    let help = "Calls received, requests about jobs included.";
    all.counter("easyremote_node_calls", MetricUnit::None, help).whole(&[], stats.calls);
    let help = "Calls rejected because the node had started one with the same id before.";
    all.counter("easyremote_node_repeats", MetricUnit::None, help).whole(&[], stats.repeats);
    let help = "Fields that lossy calls have left out of arguments.";
    all.counter("easyremote_node_left_out", MetricUnit::None, help).whole(&[], stats.left_out);
}

fn put_memory(all: &mut MetricFamilies, node: &NodeState) {
    let (kept, kept_limit) = node.kept.usage();
    let (unread, unread_limit) = node.unread.usage();
    let arguments = node.unfinished.load(Ordering::Relaxed);
    let budgets = [
        ("arguments", arguments, node.max_unfinished),
        ("unread", unread, unread_limit),
        ("kept", kept, kept_limit),
    ];
    let mut family = all.gauge(
        "easyremote_node_memory_charged",
        MetricUnit::Bytes,
        "What the node holds: arguments, items and answers that are unread, and what it keeps for \
         callers that come back.",
    );
    for (budget, used, _) in budgets {
        family.whole(&[("budget", budget)], used);
    }
    let mut family = all.gauge(
        "easyremote_node_memory_limit",
        MetricUnit::Bytes,
        "Limits of what the node holds.",
    );
    for (budget, _, limit) in budgets {
        family.whole(&[("budget", budget)], limit);
    }
}
