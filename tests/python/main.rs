//! The client for Python, under the Python of this machine: `PYTHON`, or `python3`.
//!
//! `examples/python/test_easyremote.py` makes the checks; this starts what they talk to.

mod guide;
mod offered;
mod stubs;
mod zoo;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use common::authority::Authority;
use common::soon;
use easyremote::http::{HttpOptions, HttpServer};
use easyremote::node::Functions;
use easyremote::{Gateway, Node, Role};
use tokio::process::Command;

/// A gateway with an HTTP server, and two nodes.
struct Site {
    gateway: Gateway,
    http: HttpServer,
    _nodes: Vec<Node>,
    _state: tempfile::TempDir,
}

impl Site {
    async fn start(options: HttpOptions, functions: fn() -> Functions) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path());
        let gateway = soon(gateway.serve()).await.unwrap();
        let http = soon(gateway.serve_http(options)).await.unwrap();
        let mut nodes = Vec::new();
        for (id, tag) in [("node-1", "blue"), ("node-2", "green")] {
            let node = Node::builder(gateway.ticket(Role::Node)).id(id).tag(tag);
            nodes.push(soon(node.functions(functions()).serve()).await.unwrap());
        }
        Self { gateway, http, _nodes: nodes, _state: state }
    }

    /// Runs tests of `test_easyremote.py` against this gateway.
    async fn run(&self, tests: &[&str], more: &[(&str, &str)]) {
        let mut python = python();
        python.args(["-m", "unittest", "-v"]);
        python.args(tests.iter().map(|test| format!("test_easyremote.{test}")));
        let python = self.known_to(&mut python).current_dir(directory());
        finish(python.envs(more.iter().copied())).await;
    }

    /// Tells a program where the gateway is.
    fn known_to<'a>(&self, program: &'a mut Command) -> &'a mut Command {
        program.env("EASYREMOTE_URL", format!("http://{}", self.http.local_addr()));
        let bearer = self.gateway.bearer(Role::Client, "default").unwrap();
        program.env("EASYREMOTE_BEARER", bearer.to_string())
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/python")
}

fn python() -> Command {
    let program = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let mut python = Command::new(program);
    python.args(["-W", "error"]);
    // What is imported is the source, and nothing is left beside it.
    python.env("PYTHONDONTWRITEBYTECODE", "1").kill_on_drop(true).stdin(Stdio::null());
    python
}

/// Runs a program to its end, which has to be a good one. What it writes is seen as it is written.
async fn finish(program: &mut Command) {
    let mut program = program.spawn().expect("does not start");
    let ended = tokio::time::timeout(Duration::from_secs(300), program.wait());
    assert!(ended.await.expect("did not end in five minutes").unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_passes_its_tests() {
    let site = Site::start(HttpOptions::new("127.0.0.1:0"), offered::all).await;
    let tests = ["Calls", "Failures", "Streams", "Cuts", "Uploads", "Jobs", "Tickets", "Asyncio"];
    site.run(&tests, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_speaks_tls() {
    let authority = Authority::new("tests");
    let (certificate, key) = authority.sign_name("localhost", "web");
    let options = HttpOptions::new("127.0.0.1:0").certificate(certificate, key);
    let site = Site::start(options, offered::all).await;
    let url = format!("https://localhost:{}", site.http.local_addr().port());
    let file = authority.file();
    let known = [("EASYREMOTE_URL", &*url), ("EASYREMOTE_CA", file.to_str().unwrap())];
    site.run(&["Secure", "Streams", "Uploads", "Asyncio"], &known).await;
}
