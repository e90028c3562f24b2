//! Families of metrics, and their encoding.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, NoLabelSet, prometheus_text, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::call::histogram::DurationHistogram;
use crate::exposition::format::MetricsFormat;

/// The metrics of one role at one moment.
#[derive(Debug)]
pub(crate) struct MetricFamilies {
    /// A label of every sample: programs with several roles have several texts.
    role: &'static str,
    families: Vec<MetricFamily>,
}

/// The samples of one name.
#[derive(Debug)]
struct MetricFamily {
    /// Without its unit, and without `_total`.
    name: &'static str,
    help: &'static str,
    unit: MetricUnit,
    kind: MetricKind,
    samples: Vec<MetricSample>,
}

#[derive(Debug)]
struct MetricSample {
    labels: Labels,
    value: MetricValue,
}

#[derive(Debug)]
enum MetricValue {
    Whole(u64),
    Float(f64),
    Histogram { sum: f64, count: u64, buckets: Vec<(f64, u64)> },
}

/// The labels of a sample, in order.
#[derive(Debug)]
struct Labels(Vec<(&'static str, String)>);

/// The unit of a metric, which is a part of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MetricUnit {
    None,
    Seconds,
    Bytes,
    Ratio,
}

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

impl MetricFamilies {
    /// Creates the metrics of `role`, with one that names the version of the library.
    pub(crate) fn new(role: &'static str) -> Self {
        let mut all = Self { role, families: Vec::new() };
        all.gauge(
            "easyremote_build_info",
            MetricUnit::None,
            "Always 1; the label has the version of the library.",
        )
        .whole(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        all
    }

    /// Begins a family of counters. The encoding adds the unit and `_total` to the name.
    pub(crate) fn counter(
        &mut self,
        name: &'static str,
        unit: MetricUnit,
        help: &'static str,
    ) -> FamilyWriter<'_> {
        self.family((name, unit), MetricKind::Counter, help)
    }

    /// Begins a family of gauges. The encoding adds the unit to the name.
    pub(crate) fn gauge(
        &mut self,
        name: &'static str,
        unit: MetricUnit,
        help: &'static str,
    ) -> FamilyWriter<'_> {
        self.family((name, unit), MetricKind::Gauge, help)
    }

    /// Begins a family of histograms. The encoding adds the unit to the name.
    pub(crate) fn histogram(
        &mut self,
        name: &'static str,
        unit: MetricUnit,
        help: &'static str,
    ) -> FamilyWriter<'_> {
        self.family((name, unit), MetricKind::Histogram, help)
    }

    fn family(
        &mut self,
        (name, unit): (&'static str, MetricUnit),
        kind: MetricKind,
        help: &'static str,
    ) -> FamilyWriter<'_> {
        debug_assert!(self.families.iter().all(|it| it.name != name || it.unit != unit), "{name}");
        let at = self.families.len();
        self.families.push(MetricFamily { name, help, unit, kind, samples: Vec::new() });
        FamilyWriter { role: self.role, family: &mut self.families[at] }
    }

    /// Encodes all families that have samples.
    pub(crate) fn encode(self, format: MetricsFormat) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string does not fail, and no value fails to encode.
        let encoded = match format {
            MetricsFormat::Prometheus => prometheus_text::encode(&mut text, &registry),
            MetricsFormat::OpenMetrics => text::encode(&mut text, &registry),
        };
        debug_assert!(encoded.is_ok(), "{encoded:?}");
        text
    }
}

/// Adds samples to a family.
pub(crate) struct FamilyWriter<'a> {
    role: &'static str,
    family: &'a mut MetricFamily,
}

impl FamilyWriter<'_> {
    fn add(&mut self, labels: &[(&'static str, &str)], value: MetricValue) -> &mut Self {
        let role = ("role", self.role);
        let labels = labels.iter().chain([&role]);
        let labels = Labels(labels.map(|(name, value)| (*name, (*value).to_owned())).collect());
        self.family.samples.push(MetricSample { labels, value });
        self
    }

    /// Adds a whole number.
    pub(crate) fn whole(&mut self, labels: &[(&'static str, &str)], value: u64) -> &mut Self {
        self.add(labels, MetricValue::Whole(value))
    }

    /// Adds any number.
    pub(crate) fn float(&mut self, labels: &[(&'static str, &str)], value: f64) -> &mut Self {
        self.add(labels, MetricValue::Float(value))
    }

    /// Adds the distribution of durations.
    pub(crate) fn durations(
        &mut self,
        labels: &[(&'static str, &str)],
        durations: &DurationHistogram,
    ) -> &mut Self {
        let bound = |(bound, n): (Option<std::time::Duration>, u64)| {
            (bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64()), n)
        };
        let buckets = durations.buckets().map(bound).collect();
        let (sum, count) = (durations.sum().as_secs_f64(), durations.count());
        self.add(labels, MetricValue::Histogram { sum, count, buckets })
    }

    /// Adds the distribution of numbers: the upper bound of each bucket and what is in it.
    pub(crate) fn buckets(
        &mut self,
        labels: &[(&'static str, &str)],
        (sum, count): (f64, u64),
        buckets: Vec<(f64, u64)>,
    ) -> &mut Self {
        self.add(labels, MetricValue::Histogram { sum, count, buckets })
    }
}

impl MetricUnit {
    fn unit(self) -> Option<Unit> {
        match self {
            Self::None => None,
            Self::Seconds => Some(Unit::Seconds),
            Self::Bytes => Some(Unit::Bytes),
            Self::Ratio => Some(Unit::Other("ratio".to_owned())),
        }
    }
}

impl MetricKind {
    fn of_client(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram => MetricType::Histogram,
        }
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.as_slice().encode(encoder)
    }
}

impl Collector for MetricFamilies {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let MetricFamily { name, help, kind, .. } = family;
            let unit = family.unit.unit();
            let mut metric =
                encoder.encode_descriptor(name, help, unit.as_ref(), kind.of_client())?;
            for MetricSample { labels, value } in &family.samples {
                let mut metric = metric.encode_family(labels)?;
                match (value, kind) {
                    (MetricValue::Whole(value), MetricKind::Counter) => {
                        metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
                    }
                    (MetricValue::Float(value), MetricKind::Counter) => {
                        metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
                    }
                    (MetricValue::Whole(value), _) => metric.encode_gauge(value)?,
                    (MetricValue::Float(value), _) => metric.encode_gauge(value)?,
                    (MetricValue::Histogram { sum, count, buckets }, _) => {
                        metric.encode_histogram::<NoLabelSet>(*sum, *count, buckets, None)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::histogram::LiveHistogram;

    fn encoded(format: MetricsFormat, hostile: &str) -> String {
        let mut all = MetricFamilies::new("node");
        all.counter("a", MetricUnit::None, "Counts.").whole(&[("function", hostile)], 3);
        all.gauge("b", MetricUnit::Bytes, "Measures.").float(&[], 0.5);
        let durations = LiveHistogram::default();
        durations.record(Duration::from_millis(3));
        durations.record(Duration::from_secs(1_000));
        all.histogram("c", MetricUnit::Seconds, "Takes.").durations(&[], &durations.read());
        all.gauge("nothing", MetricUnit::None, "Has no sample.");
        all.encode(format)
    }

    #[test]
    fn names_have_their_units_and_types() {
        let text = encoded(MetricsFormat::Prometheus, "f");
        for line in [
            "# HELP a_total Counts.",
            "# TYPE a_total counter",
            "a_total{function=\"f\",role=\"node\"} 3",
            "# TYPE b_bytes gauge",
            "b_bytes{role=\"node\"} 0.5",
            "# TYPE c_seconds histogram",
            "c_seconds_sum{role=\"node\"} 1000.003",
            "c_seconds_count{role=\"node\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in:\n{text}");
        }
        assert!(!text.contains("nothing"), "{text}");
        let open = encoded(MetricsFormat::OpenMetrics, "f");
        assert!(open.contains("# UNIT c_seconds seconds\n") && open.ends_with("# EOF\n"), "{open}");
    }

    #[test]
    fn labels_cannot_break_out_of_their_quotes() {
        let hostile = "a\"} 1\nb{c=\"\\d\\";
        for format in [MetricsFormat::Prometheus, MetricsFormat::OpenMetrics] {
            let text = encoded(format, hostile);
            let line = text.lines().find(|line| line.starts_with("a_total")).unwrap();
            let escaped = r#"a_total{function="a\"} 1\nb{c=\"\\d\\",role="node"} 3"#;
            assert_eq!(line, escaped);
        }
    }
}
