//! Gateways whose HTTP server says what it offers, for programs of others that read it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use easyremote::auth::DialOptions;
use easyremote::http::{HttpOptions, HttpServer};
use easyremote::node::Functions;
use easyremote::{Gateway, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

/// A type that contains itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tree {
    name: String,
    children: Vec<Tree>,
}

/// The representations of an enum.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Shape {
    Point,
    Circle(f64),
    Named { label: String, at: Option<(i32, i32)> },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Tagged {
    Text { text: String },
    Number { number: i64 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Loose {
    Number(u8),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Refused {
    TooDeep { at: u8 },
    Empty,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    rates: BTreeMap<String, f32>,
    mode: Option<char>,
    big: u64,
    small: i64,
}

/// Counts the nodes of a tree. It is refused if it is too deep.
#[remote]
fn depth(tree: Tree) -> Result<u32, Refused> {
    fn of(tree: &Tree) -> u32 {
        1 + tree.children.iter().map(of).max().unwrap_or_default()
    }
    match of(&tree) {
        1 => Err(Refused::Empty),
        n if n > 3 => Err(Refused::TooDeep { at: 3 }),
        n => Ok(n),
    }
}

#[remote]
fn shapes(shapes: Vec<Shape>, tagged: Tagged, loose: Loose) -> (Vec<Shape>, Tagged, Loose) {
    (shapes, tagged, loose)
}

#[remote(name = "Model:small.set_up")]
fn set_up(settings: Settings, wide: u128) -> Option<Settings> {
    (wide > 0).then_some(settings)
}

#[remote(name = "Model.set/Up")]
fn set_up_again(settings: Settings) -> Vec<Settings> {
    vec![settings]
}

#[remote]
fn nothing() {}

#[remote(err = "display")]
fn parse(text: String) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

#[remote]
fn panics(really: bool) {
    assert!(!really, "as it was asked to");
}

#[remote]
async fn total(start: i64, numbers: impl Stream<Item = i64>) -> i64 {
    numbers.fold(start, async |sum, n| sum.wrapping_add(n)).await
}

#[remote(stream)]
fn doubled(numbers: impl Stream<Item = u8>) -> impl Stream<Item = Result<u8, Refused>> {
    numbers.map(|n| n.checked_mul(2).ok_or(Refused::Empty))
}

#[remote(stream)]
async fn upto(n: u8) -> Result<impl Stream<Item = u8>, Refused> {
    if n == 0 { Err(Refused::Empty) } else { Ok(stream::iter(0..n)) }
}

#[remote(operator)]
fn odd(n: &u8) -> bool {
    n % 2 == 1
}

/// Functions of every kind, with types of every kind. None runs for long.
#[must_use]
pub fn of_every_kind() -> Functions {
    functions![
        depth,
        shapes,
        set_up,
        set_up_again,
        nothing,
        parse,
        panics,
        total,
        doubled,
        upto,
        odd
    ]
}

/// A gateway with HTTP, and a node.
#[derive(Debug)]
pub struct Site {
    pub gateway: Gateway,
    pub http: HttpServer,
    _node: Node,
    _state: tempfile::TempDir,
}

impl Site {
    /// Serves these functions.
    pub async fn start(functions: Functions) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path());
        let gateway = gateway.serve().await.unwrap();
        let http = gateway.serve_http(HttpOptions::new("127.0.0.1:0")).await.unwrap();
        let node = Node::builder(gateway.local_addr())
            .id("node")
            .tag("tag")
            .dial(DialOptions::new().state_dir(state.path()))
            .functions(functions);
        let node = node.serve().await.unwrap();
        Self { gateway, http, _node: node, _state: state }
    }

    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http.local_addr())
    }

    /// The bearer of an admin.
    #[must_use]
    pub fn bearer(&self) -> String {
        self.gateway.bearer(Role::Admin, "default").unwrap().to_string()
    }

    /// Writes what the gateway says of itself to `path`.
    pub async fn save(&self, path: &Path) {
        let (at, bearer) = (self.http.local_addr(), self.bearer());
        let text = tokio::task::spawn_blocking(move || document(at, &bearer)).await.unwrap();
        std::fs::write(path, text).unwrap();
    }
}

/// Asks for the document.
fn document(at: SocketAddr, bearer: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!(
        "GET /openapi.json HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {bearer}\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    body.to_owned()
}

/// The directory of the Python environment with the programs, if it is there: `OPENAPI_VENV`.
#[must_use]
pub fn venv() -> Option<PathBuf> {
    let venv = std::env::var_os("OPENAPI_VENV").map(PathBuf::from);
    if venv.is_none() {
        println!("skipped: OPENAPI_VENV names no Python environment with the programs");
    }
    venv
}

/// Runs a program of the environment to its end; what it says is shown if it fails.
pub async fn run(mut command: Command) -> String {
    let ended = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&ended.stdout), text(&ended.stderr));
    assert!(ended.status.success(), "{}\n{stdout}\n{stderr}", ended.status);
    stdout + &stderr
}

/// Validates a document in each file.
pub async fn validate(venv: &Path, files: &[PathBuf]) {
    let mut validator = Command::new(venv.join("bin/openapi-spec-validator"));
    validator.args(["--schema", "3.1", "--validation-errors", "all"]).args(files);
    run(validator).await;
}

/// Generates a client from the document of a site, and lets a script of `python/` use it.
pub async fn use_client(venv: &Path, site: &Site, script: &str) {
    let directory = tempfile::tempdir().unwrap();
    let document = directory.path().join("openapi.json");
    site.save(&document).await;
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut generator = Command::new(venv.join("bin/openapi-python-client"));
    generator.args(["generate", "--meta", "none", "--fail-on-warning", "--path"]).arg(&document);
    generator.arg("--config").arg(python.join("client.yaml"));
    generator.arg("--output-path").arg(directory.path().join(format!("{script}_client")));
    // It runs `ruff` on what it has written.
    let path = std::env::var("PATH").unwrap_or_default();
    generator.env("PATH", format!("{}:{path}", venv.join("bin").display()));
    run(generator).await;
    let mut client = Command::new(venv.join("bin/python"));
    client.arg(python.join(format!("{script}.py"))).env("PYTHONPATH", directory.path());
    client.env("URL", site.url()).env("BEARER", site.bearer());
    run(client).await;
}

/// Makes requests of every form to a site, valid and not. None may fail at the server.
///
/// Each call may take `timeout`: a stream may have no end.
pub async fn fuzz(venv: &Path, site: &Site, timeout: &str, options: &[&str]) {
    let directory = tempfile::tempdir().unwrap();
    let document = directory.path().join("openapi.json");
    site.save(&document).await;
    let mut fuzzer = Command::new(venv.join("bin/schemathesis"));
    fuzzer.current_dir(directory.path()).arg("run").arg(&document).args(["--url", &site.url()]);
    fuzzer.args(["--header", &format!("Authorization: Bearer {}", site.bearer())]);
    // A node that is not there is 503, and a time that has passed 504. So these are not random.
    let timeout = format!("Timeout: {timeout}");
    for header in ["Node: node", "Tag: tag", "Wait-For-Node: false", &timeout] {
        fuzzer.args(["--header", &format!("Easyremote-{header}")]);
    }
    // Its answer has no end.
    fuzzer.args(["--exclude-path", "/feed"]);
    fuzzer.args(["--checks", CHECKS, "--seed", "17", "--no-color"]).args(options);
    println!("{}", run(fuzzer).await);
}

/// What is checked of each answer. Others ask for more than the document says.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      unsupported_method,ignored_auth";
