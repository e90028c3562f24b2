//! The gauges that the programs of nodes report.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::wire::fields;
use crate::wire::limits::{MAX_GAUGE_NAME, MAX_GAUGES};

/// The gauges of a node: the fields of a control message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GaugeReport {
    /// At most [`MAX_GAUGES`].
    #[serde(deserialize_with = "fields::gauges")]
    gauges: Vec<NamedGauge>,
}

/// One gauge on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct NamedGauge {
    #[serde(with = "fields::name")]
    name: String,
    value: f64,
}

impl GaugeReport {
    /// Creates a report of all gauges of a node.
    #[cfg(any(feature = "node", test))]
    pub(crate) fn new(gauges: &BTreeMap<String, f64>) -> Self {
        let named =
            |(name, value): (&String, &f64)| NamedGauge { name: name.clone(), value: *value };
        Self { gauges: gauges.iter().map(named).collect() }
    }

    /// Removes the gauges from a peer's report that make no sense.
    pub(super) fn sane(mut self) -> Self {
        self.gauges.retain(|gauge| is_sane(&gauge.name, gauge.value));
        self
    }

    /// Returns the gauges by name. Of two with one name, the last counts.
    #[cfg(any(feature = "gateway", test))]
    pub(crate) fn into_map(self) -> BTreeMap<String, f64> {
        self.gauges.into_iter().map(|gauge| (gauge.name, gauge.value)).collect()
    }
}

/// Returns whether a gauge may have this name: 1 to [`MAX_GAUGE_NAME`] of `A-Z a-z 0-9 _`, and no
/// digit first. These are the names of Prometheus, without its colon.
pub(crate) fn is_gauge_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let first = name.bytes().next();
    first.is_some_and(|byte| !byte.is_ascii_digit())
        && name.len() <= MAX_GAUGE_NAME
        && name.bytes().all(fine)
}

/// Returns whether a gauge may have this name and value. Infinity and NaN are no figures, and JSON
/// has neither.
fn is_sane(name: &str, value: f64) -> bool {
    is_gauge_name(name) && value.is_finite()
}

/// Decodes gauges from JSON, without those that make no sense. A client does so itself, and does not
/// rely on the gateway.
pub(super) fn map<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let gauges = BTreeMap::<String, f64>::deserialize(from)?;
    let sane = gauges.into_iter().filter(|(name, value)| is_sane(name, *value));
    Ok(sane.take(MAX_GAUGES).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_prometheus() {
        let longest = "x".repeat(MAX_GAUGE_NAME);
        for name in ["a", "_", "vram_free", "GPU0_W", "__x9", &longest] {
            assert!(is_gauge_name(name), "{name}");
        }
        let too_long = "x".repeat(MAX_GAUGE_NAME + 1);
        let bad = ["", "9a", "a-b", "a b", "a:b", "\u{e4}", "a\n", "a\"", "a\0", "a{}", &too_long];
        for name in bad {
            assert!(!is_gauge_name(name), "{name:?}");
        }
    }
}
