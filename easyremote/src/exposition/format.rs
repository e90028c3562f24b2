//! The text formats.

/// A text format of metrics, which Prometheus and others scrape.
///
/// | | first line | last line | `content_type` |
/// |---|---|---|---|
/// | `Prometheus` | `# HELP` | a sample | `text/plain; version=0.0.4; charset=utf-8` |
/// | `OpenMetrics` | `# HELP` | `# EOF` | `application/openmetrics-text; version=1.0.0; charset=utf-8` |
///
/// ```
/// use easyremote::client::MetricsFormat;
///
/// let asked = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
/// assert_eq!(MetricsFormat::of_accept(asked), MetricsFormat::OpenMetrics);
/// assert_eq!(MetricsFormat::of_accept("*/*"), MetricsFormat::Prometheus);
/// assert!(MetricsFormat::Prometheus.content_type().starts_with("text/plain"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricsFormat {
    /// The Prometheus text format, version 0.0.4: every scraper reads it.
    #[default]
    Prometheus,
    /// OpenMetrics, version 1.0: the same samples, and the units of metrics.
    OpenMetrics,
}

impl MetricsFormat {
    /// Returns the format that a scraper wants, by the `Accept` header of its request:
    /// [`OpenMetrics`](Self::OpenMetrics) if it is in the list, and [`Prometheus`](Self::Prometheus)
    /// otherwise. Weights are not compared: a scraper that names OpenMetrics prefers it.
    #[must_use]
    pub fn of_accept(accept: &str) -> Self {
        let media = |range: &str| range.split(';').next().unwrap_or_default().trim().to_owned();
        let refused = |range: &str| range.replace(' ', "").split(';').any(|it| it == "q=0");
        let wanted = |range: &str| {
            media(range).eq_ignore_ascii_case("application/openmetrics-text") && !refused(range)
        };
        if accept.split(',').any(wanted) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// Returns the `Content-Type` of the format.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        use MetricsFormat::{OpenMetrics, Prometheus};
        for (accept, format) in [
            ("", Prometheus),
            ("*/*", Prometheus),
            ("text/plain; version=0.0.4", Prometheus),
            ("application/openmetrics-text", OpenMetrics),
            ("text/html, Application/OpenMetrics-Text ; version=1.0.0", OpenMetrics),
            ("application/openmetrics-text;q=0, text/plain", Prometheus),
            ("application/openmetrics-textual", Prometheus),
        ] {
            assert_eq!(MetricsFormat::of_accept(accept), format, "{accept:?}");
        }
        assert_eq!(
            Prometheus.content_type(),
            prometheus_client::encoding::prometheus_text::CONTENT_TYPE
        );
    }
}
