//! HTTP servers behind nodes, reached through the gateway: `/v1/*` and `/attach/{name}/*`.

mod answers;
mod model_server;
mod models;
mod official;
mod requests;
mod streams;

use std::time::Duration;

use common::{found_in, soon, until};
use easyremote::attach::{AttachedServer, LocalServer};
use easyremote::node::NodeBuilder;
use easyremote::{Node, Role};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Site;
use crate::attach::model_server::ModelServer;
use crate::exchange::{Answer, send};

impl Site {
    /// Attaches a server.
    pub(crate) async fn attach(&self, name: &str, server: &ModelServer) -> AttachedServer {
        self.attach_with(name, LocalServer::new(server.url()), |node| node).await
    }

    pub(crate) async fn attach_with(
        &self,
        name: &str,
        server: LocalServer,
        node: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> AttachedServer {
        let builder = Node::builder(self.gateway.local_addr()).dial(found_in(self.state.path()));
        soon(server.attach(name, node(builder))).await.unwrap()
    }

    /// Makes a request by the default client, with further headers and a body.
    pub(crate) async fn ask(&self, line: &str, headers: &[&str], body: &str) -> Answer {
        let request = self.request(line, headers, body);
        self.send(&request).await
    }

    /// Sends the bytes of a request. The body of the answer is without the frames of its chunks, unless
    /// it has broken off.
    pub(crate) async fn send(&self, request: &str) -> Answer {
        let mut answer = soon(send(self.address(), request.as_bytes())).await.unwrap();
        if let Some(body) = unframed(&answer.body) {
            answer.body = body;
        }
        answer
    }

    /// The bytes of such a request.
    pub(crate) fn request(&self, line: &str, headers: &[&str], body: &str) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = match body.is_empty() {
            true => String::new(),
            false => format!("Content-Length: {}\r\n", body.len()),
        };
        let (host, bearer) = (self.address(), self.bearer(Role::Client));
        format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n{headers}{length}Connection: close\r\n\r\n{body}"
        )
    }

    /// Makes a request whose answer is read as it comes.
    pub(crate) async fn live(&self, line: &str, body: &str) -> LiveAnswer {
        let mut stream = TcpStream::connect(self.address()).await.unwrap();
        let request = self.request(line, &["Content-Type: application/json"], body);
        stream.write_all(request.as_bytes()).await.unwrap();
        LiveAnswer { stream, text: String::new() }
    }
}

/// The chunks of a body that is complete.
fn unframed(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, more) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return (more == "\r\n").then_some(body);
        }
        body.push_str(more.get(..size)?);
        rest = more[size..].strip_prefix("\r\n")?;
    }
}

/// An answer while it arrives.
#[derive(Debug)]
pub(crate) struct LiveAnswer {
    stream: TcpStream,
    text: String,
}

impl LiveAnswer {
    /// Reads on until this text has come.
    pub(crate) async fn until(&mut self, text: &str) {
        let mut bytes = [0; 4_096];
        while !self.text.contains(text) {
            let n = soon(self.stream.read(&mut bytes)).await.unwrap();
            assert!(n > 0, "`{text}` is not in {}", self.text);
            self.text.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    /// Reads to the end, and returns all of it.
    pub(crate) async fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        // What came before a reset counts.
        let _ = soon(self.stream.read_to_end(&mut bytes)).await;
        self.text + &String::from_utf8_lossy(&bytes)
    }
}

/// A request for tokens of a model.
pub(crate) fn chat(model: &str, more: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]{more}}}"#)
}

const CHAT: &str = "POST /v1/chat/completions";

const JSON: &str = "Content-Type: application/json";

/// The error as clients of the API read it.
fn error_of(answer: &Answer) -> Value {
    answer.json()["error"].clone()
}

/// Waits until the gateway has the tags of a node.
async fn settled(site: &Site, tags: usize) {
    let node_tags = || site.gateway.nodes().iter().map(|node| node.tags.len()).sum::<usize>();
    until(|| node_tags() == tags).await;
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(600);
