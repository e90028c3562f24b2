//! Three processes send their spans to a collector that is not ours, `rotel`, which writes down what
//! it has received. Without it the test says so and passes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use easyremote::auth::DialOptions;
use easyremote::{Client, Gateway, Node};
use futures::{StreamExt, stream};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use otel::{all, soon, task};

/// The spans of a call of `task`, which calls `leaf`: the service, the name and the kind of each, and
/// at which place its parent is.
const TRACE: [(&str, &str, &str, Option<usize>); 6] = [
    ("client", "task", "SPAN_KIND_CLIENT", None),
    ("gateway", "task", "SPAN_KIND_SERVER", Some(0)),
    ("node", "task", "SPAN_KIND_SERVER", Some(1)),
    ("node", "leaf", "SPAN_KIND_CLIENT", Some(2)),
    ("gateway", "leaf", "SPAN_KIND_SERVER", Some(3)),
    ("node", "leaf", "SPAN_KIND_SERVER", Some(4)),
];

/// Where the collector's program is, if it is installed: `ROTEL_AGENT`, or in the Python package.
fn agent() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("ROTEL_AGENT") {
        return Some(path.into());
    }
    let code =
        "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
    let found = Command::new("python3").args(["-c", code]).output().ok()?;
    found.status.success().then(|| String::from_utf8_lossy(&found.stdout).trim().into())
}

fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// Waits for what another process does.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many calls are made, and the ratio of those whose traces are recorded.
#[derive(Clone, Copy)]
struct Sampled {
    calls: usize,
    ratio: f64,
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    /// Closes its standard input, and waits until it has sent its spans.
    fn finish(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

/// Runs the test [`role`] of this binary in another process.
fn start(role: &str, endpoint: &str, directory: &Path, of: Sampled) -> Running {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "role", "--nocapture"]).stdin(Stdio::piped());
    command.env("OTEL_ROLE", role).env("OTEL_ENDPOINT", endpoint).env("OTEL_DIRECTORY", directory);
    command.env("OTEL_CALLS", of.calls.to_string()).env("OTEL_RATIO", of.ratio.to_string());
    Running(command.spawn().unwrap())
}

/// One role of the test, in its own process.
#[test]
fn role() {
    let Ok(role) = std::env::var("OTEL_ROLE") else { return };
    let variable = |name| std::env::var(name).unwrap();
    let directory = PathBuf::from(variable("OTEL_DIRECTORY"));
    let ratio = variable("OTEL_RATIO").parse().unwrap();
    let exporter = SpanExporter::builder().with_http();
    let exporter = exporter.with_endpoint(variable("OTEL_ENDPOINT")).build().unwrap();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio)));
    let provider = SdkTracerProvider::builder().with_sampler(sampler);
    let service = ["gateway", "node", "client"].into_iter().find(|name| *name == role).unwrap();
    let provider = otel::trace(service, provider.with_batch_exporter(exporter));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&role, &directory, variable("OTEL_CALLS").parse().unwrap()));
    drop(runtime);
    provider.shutdown().unwrap();
}

async fn run(role: &str, directory: &Path, calls: usize) {
    let found = || DialOptions::new().state_dir(directory);
    let address = || fs::read_to_string(directory.join("gateway")).unwrap();
    let announce = |name: &str, text: String| {
        fs::write(directory.join("draft"), text).unwrap();
        fs::rename(directory.join("draft"), directory.join(name)).unwrap();
    };
    match role {
        "gateway" => {
            let gateway = Gateway::builder("127.0.0.1:0").state_dir(directory).serve();
            let gateway = soon(gateway).await.unwrap();
            announce("gateway", gateway.local_addr().to_string());
            tokio::task::spawn_blocking(wait_for_end).await.unwrap();
            soon(gateway.shutdown()).await;
        }
        "node" => {
            let node = Node::builder(address()).dial(found()).functions(all()).serve();
            let node = soon(node).await.unwrap();
            announce("node", String::new());
            tokio::task::spawn_blocking(wait_for_end).await.unwrap();
            soon(node.shutdown()).await;
        }
        _ => {
            let client = Client::builder(address()).dial(found()).connect();
            let client = soon(client).await.unwrap();
            let calls = stream::iter(0..calls).map(|_| soon(task::call(&client)));
            calls
                .buffer_unordered(32)
                .for_each(async |seen| assert!(seen.unwrap().is_some()))
                .await;
            client.close().await;
        }
    }
}

/// Waits until the standard input is closed.
fn wait_for_end() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

/// A span, as the collector has written it down.
#[derive(Clone, Debug, Default)]
struct Received {
    service: String,
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: String,
    attributes: HashMap<String, String>,
}

/// Reads what the collector writes with `--debug-log-verbosity detailed`.
fn received(log: &str) -> Vec<Received> {
    let mut spans: Vec<Received> = Vec::new();
    let (mut service, mut of_span) = (String::new(), false);
    for line in log.lines().map(str::trim) {
        if line.starts_with("ResourceSpans #") {
            of_span = false;
        } else if line.starts_with("Span #") {
            of_span = true;
            spans.push(Received { service: service.clone(), ..Received::default() });
        } else if let Some((key, value)) =
            line.strip_prefix("-> ").and_then(|it| it.split_once(": "))
        {
            let value = value.split_once('(').map_or(value, |(_, rest)| rest.trim_end_matches(')'));
            match spans.last_mut() {
                Some(span) if of_span => drop(span.attributes.insert(key.into(), value.into())),
                _ if key == "service.name" => service = value.into(),
                _ => {}
            }
        } else if let Some((key, value)) = line.split_once(" : ")
            && let Some(span) = spans.last_mut().filter(|_| of_span)
        {
            let value = value.trim().to_owned();
            match key.trim() {
                "Trace ID" => span.trace = value,
                "Parent ID" => span.parent = value,
                "ID" => span.id = value,
                "Name" => span.name = value,
                "Kind" => span.kind = value,
                _ => {}
            }
        }
    }
    spans
}

/// Checks that a trace is whole: each span is there once, with the right parent.
fn check(trace: &[Received]) {
    let mut ids: Vec<&str> = Vec::new();
    for (service, name, kind, parent) in TRACE {
        let parent = parent.map_or("", |at| ids[at]);
        let is_it = |span: &&Received| {
            (&*span.service, &*span.name, &*span.kind) == (service, name, kind)
                && span.parent.trim_matches('0') == parent.trim_matches('0')
        };
        let found: Vec<_> = trace.iter().filter(is_it).collect();
        let [span] = found[..] else { panic!("{service} {name} {kind} in {trace:#?}") };
        assert_eq!(span.attributes["rpc.system.name"], "easyremote");
        assert_eq!(span.attributes["rpc.method"], name);
        assert_eq!(span.attributes["easyremote.executed"], "Yes");
        assert!(!span.attributes.contains_key("error.type"));
        ids.push(&span.id);
    }
    assert_eq!(trace.len(), TRACE.len(), "{trace:#?}");
}

/// Lets three processes make and serve calls. Returns the traces that have arrived.
fn traces(agent: &Path, of: Sampled) -> BTreeMap<String, Vec<Received>> {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let (http, grpc) = (free_address(), free_address());
    let log = File::create(file("log")).unwrap();
    let mut collector = Command::new(agent);
    collector.args(["start", "--exporter", "blackhole", "--debug-log", "traces"]);
    collector.args(["--debug-log-verbosity", "detailed", "--otlp-http-endpoint", &http]);
    collector.args(["--otlp-grpc-endpoint", &grpc]).arg("--pid-file").arg(file("pid"));
    collector.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
    let collector = Running(collector.spawn().unwrap());
    until("the collector listens", || TcpStream::connect(&http).is_ok());
    let endpoint = format!("http://{http}/v1/traces");
    let started = |role| start(role, &endpoint, directory.path(), of);
    let gateway = started("gateway");
    until("the gateway listens", || file("gateway").exists());
    let node = started("node");
    until("the node is there", || file("node").exists());
    started("client").finish();
    node.finish();
    gateway.finish();
    // All have been received by now; the collector may still be writing.
    let read = || received(&String::from_utf8_lossy(&fs::read(file("log")).unwrap()));
    let mut before = usize::MAX;
    until("the collector has written", || {
        std::thread::sleep(Duration::from_millis(200));
        let n = read().len();
        std::mem::replace(&mut before, n) == n && n > 0
    });
    drop(collector);
    let mut traces = BTreeMap::<_, Vec<_>>::new();
    for span in read() {
        traces.entry(span.trace.clone()).or_default().push(span);
    }
    traces
}

/// Checks the traces of calls of which as many as are in `expected` are recorded.
fn whole_traces_arrive(of: Sampled, expected: RangeInclusive<usize>) {
    let Some(agent) = agent() else {
        println!("skipped: the collector `rotel` is not installed (pip install rotel)");
        return;
    };
    let traces = traces(&agent, of);
    traces.values().for_each(|trace| check(trace));
    assert!(expected.contains(&traces.len()), "{} of {}", traces.len(), of.calls);
    println!("{} whole traces of {} calls", traces.len(), of.calls);
}

#[test]
fn a_collector_has_whole_traces_of_three_processes() {
    whole_traces_arrive(Sampled { calls: 50, ratio: 1.0 }, 50..=50);
}

#[test]
fn a_collector_has_whole_traces_of_one_call_in_a_hundred() {
    // 20 are expected; that it is none, or more than 60, happens once in 10^8 times.
    whole_traces_arrive(Sampled { calls: 2_000, ratio: 0.01 }, 1..=60);
}
