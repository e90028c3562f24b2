//! The protocol's own client: `mcp` of Python, with `MCP_PYTHON` a Python that has it. Without it
//! these tests only say so.

use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::gate::Gate;
use common::{Probe, soon};
use easyremote::Role;
use easyremote::http::{HttpOptions, HttpServer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::agent::Served;
use crate::offered::{Tag, Thing, dropped_at};

/// Where the client is, and how it begins.
const WAYS: [(&str, &str); 4] =
    [("stdio", "auto"), ("stdio", "legacy"), ("http", "auto"), ("http", "legacy")];

/// A client that has connected.
struct PythonAgent {
    process: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl PythonAgent {
    /// `None` if there is no client.
    async fn start(
        served: &Served,
        http: &HttpServer,
        way: (&str, &str),
        scenario: &str,
    ) -> Option<Self> {
        let Some(python) = std::env::var_os("MCP_PYTHON") else {
            println!("skipped: `MCP_PYTHON` names no Python with the package `mcp`");
            return None;
        };
        let (transport, mode) = way;
        let config = if transport == "http" {
            let bearer = served.world.gateway.bearer(Role::Client, "default").unwrap().to_string();
            let url = format!("http://{}/mcp", http.local_addr());
            json!({ "mode": mode, "url": url, "bearer": bearer })
        } else {
            let (gateway, state) = (served.world.gateway.local_addr(), served.world.state_dir());
            let tool = common::tool::binary("cli,mcp");
            let command =
                [tool.to_str().unwrap(), "--gateway", &gateway.to_string(), "--state-dir"];
            let command = [&command[..], &[state.to_str().unwrap(), "mcp"]].concat();
            json!({ "mode": mode, "command": command })
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mcp/client.py");
        let mut command = Command::new(python);
        command.arg(script).arg(config.to_string()).arg(scenario).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut agent = Self { process, input, lines };
        let version = agent.next().await["connected"].clone();
        assert_eq!(version == "2026-07-28", mode == "auto", "{version}");
        Some(agent)
    }

    async fn next(&mut self) -> Value {
        let line = soon(self.lines.next_line()).await.unwrap().expect("the client has ended");
        serde_json::from_str(&line).unwrap()
    }

    async fn tell(&mut self, what: Value) {
        soon(self.input.write_all(format!("{what}\n").as_bytes())).await.unwrap();
    }

    async fn ends(mut self) {
        drop(self.input);
        assert!(soon(self.process.wait()).await.unwrap().success());
    }
}

async fn served() -> (Served, HttpServer) {
    let served = Served::start().await;
    let http = soon(served.world.gateway.serve_http(HttpOptions::new("127.0.0.1:0"))).await;
    (served, http.unwrap())
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let (served, http) = served().await;
    for way in WAYS {
        let Some(mut agent) = PythonAgent::start(&served, &http, way, "tour").await else { return };
        let tools = agent.next().await;
        assert!(tools["tools"].as_array().unwrap().contains(&json!("add")), "{tools}");
        assert!(!tools["tools"].as_array().unwrap().contains(&json!("hidden")), "{tools}");
        let mut call = async |name: &str, error: bool| {
            let made = agent.next().await;
            assert_eq!((&made["call"], &made["error"]), (&json!(name), &json!(error)), "{made}");
            made["content"].clone()
        };
        assert_eq!(call("add", false).await, json!({ "result": 3 }));
        let own = call("divide", true).await;
        assert_eq!((&own["kind"], &own["executed"]), (&json!("Function"), &json!("Yes")));
        assert_eq!(own["error"], json!({ "ByZero": { "dividend": 1.0 } }));
        let wrong = call("add", true).await;
        assert_eq!((&wrong["kind"], &wrong["executed"]), (&json!("BadArguments"), &json!("No")));
        assert_eq!(wrong["node"], "node-1");
        assert_eq!(call("Model.v1-small.layers", false).await, json!({ "result": 12 }));
        assert_eq!(call("parsed", false).await["faults"][0]["before"], 1);
        let late = call("forever", true).await;
        let expected = (&json!("DeadlineExceeded"), &json!("Yes"), &json!(["a", "b"]));
        assert_eq!((&late["kind"], &late["executed"], &late["items"]), expected);
        let refused = agent.next().await;
        assert_eq!(
            (&refused["refused"], &refused["data"]["executed"]),
            (&json!(-32602), &json!("No"))
        );
        agent.ends().await;
    }
}

#[tokio::test]
async fn items_arrive_as_they_are_made() {
    let (served, http) = served().await;
    for way in WAYS {
        let Some(mut agent) = PythonAgent::start(&served, &http, way, "items").await else {
            return;
        };
        let gates: Vec<_> = (0..5).map(|_| Gate::closed()).collect();
        let keys: Vec<_> = gates.iter().map(|gate| gate.key).collect();
        agent.tell(json!(keys)).await;
        for (n, gate) in (1..).zip(&gates) {
            // The next item does not exist yet.
            gate.open();
            let progress = agent.next().await;
            assert_eq!(
                (&progress["item"], progress["progress"].as_f64()),
                (&json!(n), Some(f64::from(n)))
            );
        }
        let made = agent.next().await;
        assert_eq!(made["content"], json!({ "items": [1, 2, 3, 4, 5], "count": 5 }));
        agent.ends().await;
    }
}

/// Waits until the function of the probe's key has stopped, and tells how long that took: 200 ms at
/// most on a machine that is not busy.
async fn stopped(probe: &mut Probe, gone: Duration, what: &str) {
    assert_eq!(probe.next().await, "dropped");
    let stopped = dropped_at(probe.key).duration_since(UNIX_EPOCH).unwrap();
    let after = stopped.saturating_sub(gone);
    println!("{what}: the function has stopped after {after:?}");
}

#[tokio::test]
async fn a_cancelled_call_ends_its_function() {
    let (served, http) = served().await;
    for way in WAYS {
        let Some(mut agent) = PythonAgent::start(&served, &http, way, "cancel").await else {
            return;
        };
        for tool in ["nap", "quiet"] {
            let mut probe = Probe::new();
            agent.tell(json!(probe.key)).await;
            assert_eq!(probe.next().await, "started");
            agent.tell(Value::Null).await;
            let gone = agent.next().await["cancelled"].as_f64().unwrap();
            stopped(
                &mut probe,
                Duration::from_secs_f64(gone),
                &format!("{way:?} {tool} cancelled"),
            )
            .await;
        }
        assert_eq!(agent.next().await["content"], json!({ "result": 3 }));
        agent.ends().await;
    }
}

#[tokio::test]
async fn a_killed_agent_ends_its_functions() {
    let (served, http) = served().await;
    for way in WAYS {
        let Some(mut agent) = PythonAgent::start(&served, &http, way, "stay").await else { return };
        let mut probe = Probe::new();
        agent.tell(json!(probe.key)).await;
        assert_eq!(probe.next().await, "started");
        let gone = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        agent.process.start_kill().unwrap();
        stopped(&mut probe, gone, &format!("{way:?} killed")).await;
    }
}

#[tokio::test]
async fn random_values_fit_the_schemas_and_arrive_unchanged() {
    let (served, http) = served().await;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for way in WAYS {
        let Some(mut agent) = PythonAgent::start(&served, &http, way, "echo").await else { return };
        for _ in 0..40 {
            let also = random.bool().then_some(Tag::Named { at: random.i64(..) });
            let thing = Thing::random(&mut random, 3);
            agent.tell(json!({ "thing": thing, "also": also })).await;
        }
        soon(agent.input.write_all(b"\n")).await.unwrap();
        assert_eq!(agent.next().await["same"], 40);
        agent.ends().await;
    }
}
