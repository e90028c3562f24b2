//! The figures of a role as metrics, in the text formats of Prometheus.
//!
//! A role writes what it knows into [`MetricFamilies`], from the same snapshots that its program can
//! read, whenever it is asked: nothing is counted twice, and nothing is kept in between. `prometheus-client`
//! then encodes them, and escapes labels.

mod families;
mod format;
pub(crate) mod functions;
#[cfg(any(feature = "gateway", feature = "node"))]
pub(crate) mod nodes;

pub(crate) use families::{MetricFamilies, MetricUnit};
pub use format::MetricsFormat;
