//! The metrics of a client.

use crate::client::handle::Client;
use crate::client::stats::ClientStats;
use crate::exposition::{MetricFamilies, MetricUnit, MetricsFormat};

impl Client {
    /// Returns what the client counts as metrics in the Prometheus text format, for a scraper.
    ///
    /// It is read from the same figures as [`stats`](Self::stats) now. The guide lists the metrics
    /// ([operations](https://github.com/easyremote/easyremote/blob/main/docs/operations.md#numbers)).
    /// A program with several clients serves the text of each by itself.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::connect(gateway.local_addr()).await?;
    /// assert!(client.metrics().contains("easyremote_client_connected{role=\"client\"} 1\n"));
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
    /// use easyremote::client::MetricsFormat;
    /// # fn example(client: easyremote::Client) {
    ///
    /// let text = client.metrics_in(MetricsFormat::OpenMetrics);
    /// assert!(text.ends_with("# EOF\n"));
    /// # }
    /// ```
    #[doc(alias = "openmetrics")]
    #[must_use]
    pub fn metrics_in(&self, format: MetricsFormat) -> String {
        use MetricUnit::{Bytes, None};
        let stats = self.stats();
        let ClientStats { connected, in_flight, streams, queued, queued_bytes, .. } = stats;
        let ClientStats { calls, retries, reconnects, left_out, .. } = stats;
        let mut all = MetricFamilies::new("client");
        for (name, unit, help, value) in [
            (
                "easyremote_client_connected",
                None,
                "Whether a connection to a gateway is up: 1 or 0.",
                u64::from(connected),
            ),
            (
                "easyremote_client_calls_in_flight",
                None,
                "Calls and streams in flight, those that wait included.",
                in_flight,
            ),
            ("easyremote_client_streams", None, "Streams in flight.", streams),
            ("easyremote_client_calls_queued", None, "Calls that wait for a connection.", queued),
            ("easyremote_client_queued", Bytes, "Arguments of these calls.", queued_bytes),
        ] {
            all.gauge(name, unit, help).whole(&[], value);
        }
        for (name, help, value) in [
            ("easyremote_client_calls", "Calls and streams started.", calls),
            ("easyremote_client_retries", "Retries of calls.", retries),
            ("easyremote_client_reconnects", "Connections that replaced another one.", reconnects),
            (
                "easyremote_client_left_out",
                "Fields that lossy calls have left out of answers.",
                left_out,
            ),
        ] {
            all.counter(name, None, help).whole(&[], value);
        }
        all.encode(format)
    }
}
