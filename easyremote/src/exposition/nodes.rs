//! The metrics of nodes: of each one at a gateway, and of itself at a node.

use std::collections::BTreeMap;

use crate::exposition::{MetricFamilies, MetricUnit};
use crate::wire::load::NodeLoad;

/// What is known of a node.
pub(crate) struct NodeFigures {
    pub(crate) id: String,
    pub(crate) load: Option<NodeLoad>,
    pub(crate) gauges: BTreeMap<String, f64>,
}

/// Adds the metrics of nodes.
pub(crate) fn put(all: &mut MetricFamilies, nodes: &[NodeFigures]) {
    let loads = || nodes.iter().filter_map(|node| Some((("node", &*node.id), node.load?)));
    let mut family = all.gauge(
        "easyremote_node_calls_in_flight",
        MetricUnit::None,
        "Calls from all gateways that a node runs or has in its queue, as it says.",
    );
    for (node, load) in loads() {
        family.whole(&[node], load.in_flight);
    }
    let mut family = all.gauge(
        "easyremote_node_calls_waiting",
        MetricUnit::None,
        "Calls that wait at a node, as it says.",
    );
    for (node, load) in loads() {
        family.whole(&[node], load.waiting);
    }
    let mut family = all.gauge(
        "easyremote_node_cpu",
        MetricUnit::Ratio,
        "Share of the processors of a node's machine that is in use, by all programs.",
    );
    for (node, load) in loads() {
        if let Some(percent) = load.cpu_percent {
            family.float(&[node], f64::from(percent) / 100.0);
        }
    }
    let mut family = all.gauge(
        "easyremote_node_memory_used",
        MetricUnit::Bytes,
        "Memory of a node's machine that is in use, by all programs.",
    );
    for (node, load) in loads() {
        if let Some(memory) = load.memory {
            family.whole(&[node], memory.used);
        }
    }
    let mut family = all.gauge(
        "easyremote_node_memory_installed",
        MetricUnit::Bytes,
        "Memory of a node's machine.",
    );
    for (node, load) in loads() {
        if let Some(memory) = load.memory {
            family.whole(&[node], memory.total);
        }
    }
    let mut family = all.gauge(
        "easyremote_node_reported",
        MetricUnit::None,
        "What the program of a node reports, by name.",
    );
    for node in nodes {
        for (name, value) in &node.gauges {
            family.float(&[("node", &node.id), ("name", name)], *value);
        }
    }
}
