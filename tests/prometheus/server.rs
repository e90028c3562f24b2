//! A real Prometheus, what it scrapes, and what it knows.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::soon;
use easyremote::gateway::MetricsFormat;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Whether the machine has Prometheus.
pub(crate) fn installed() -> bool {
    let runs = |program: &str| {
        let said = Command::new(program).arg("--version").output();
        said.is_ok_and(|said| said.status.success())
    };
    let installed = runs("prometheus") && runs("promtool");
    if !installed {
        println!("skipped: `prometheus` and `promtool` are not installed");
    }
    installed
}

/// A role that is scraped: serves its text over HTTP until it is dropped.
pub(crate) struct Target {
    job: &'static str,
    address: SocketAddr,
    _serving: Owned,
}

struct Owned(tokio::task::JoinHandle<()>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Target {
    pub(crate) async fn serve(
        job: &'static str,
        metrics: impl Fn(MetricsFormat) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Arc::new(metrics);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, metrics.clone()));
            }
        });
        Self { job, address, _serving: Owned(serving) }
    }
}

/// Answers one request with the metrics, in the format that it asks for.
async fn answer(mut stream: TcpStream, metrics: Arc<impl Fn(MetricsFormat) -> String>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let accept = request.lines().find_map(|line| line.strip_prefix("Accept: ")).unwrap_or_default();
    let format = MetricsFormat::of_accept(accept);
    let text = metrics(format);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        format.content_type(),
        text.len()
    );
    let _ = stream.write_all(&[head.as_bytes(), text.as_bytes()].concat()).await;
    let _ = stream.shutdown().await;
}

/// A server that scrapes its targets five times a second. Dropping it ends it.
pub(crate) struct Prometheus {
    process: Child,
    address: SocketAddr,
    _directory: TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Prometheus {
    /// Starts a server, and waits until it has scraped all targets.
    pub(crate) async fn start(targets: &[&Target]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n".to_owned();
        config += "scrape_configs:\n";
        for Target { job, address, .. } in targets {
            config +=
                &format!("- {{job_name: {job}, static_configs: [{{targets: ['{address}']}}]}}\n");
        }
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, config).unwrap();
        // Free now; who takes it in between fails the test, and no other.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, address, _directory: directory };
        server.reaches("sum(up)", targets.len() as f64).await;
        server
    }

    /// Waits until the expression has this value.
    pub(crate) async fn reaches(&self, expression: &str, expected: f64) {
        let mut last = None;
        let mut looks = tokio::time::interval(Duration::from_millis(50));
        let reached = tokio::time::timeout(Duration::from_secs(60), async {
            while last != Some(expected) {
                looks.tick().await;
                last = self.value(expression).await;
            }
        });
        assert!(reached.await.is_ok(), "{expression} is {last:?} and not {expected}");
    }

    /// The value of an expression with one result; `None` if there is none.
    pub(crate) async fn value(&self, expression: &str) -> Option<f64> {
        let answer = self.query(expression).await?;
        let value = answer["data"]["result"][0]["value"][1].as_str()?;
        Some(value.parse().unwrap())
    }

    /// What the server says to a query; `None` if it does not answer yet.
    pub(crate) async fn query(&self, expression: &str) -> Option<Value> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let request = format!("GET /api/v1/query?query={encoded} HTTP/1.0\r\n\r\n");
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        serde_json::from_str(body).ok()
    }
}
