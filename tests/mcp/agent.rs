//! An agent that writes the protocol's messages itself.

use std::collections::VecDeque;

use common::{World, soon};
use easyremote::gateway::GatewayBuilder;
use easyremote::{Client, Error, Node};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;

use crate::offered::{Model, functions};

/// A gateway, and a node that offers all functions.
pub(crate) struct Served {
    pub(crate) world: World,
    pub(crate) node: Node,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::with(|gateway| gateway).await
    }

    pub(crate) async fn with(gateway: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let world = World::of(gateway).await;
        let node = world.node_builder().id("node-1").functions(functions()).state(Model(1));
        let node = soon(node.instance("v1/small", Model(12)).serve()).await.unwrap();
        Self { world, node }
    }

    /// An agent of the default client.
    pub(crate) async fn agent(&self, revision: Revision) -> Agent {
        Agent::of(self.world.client().await, revision).await
    }
}

/// Which form of the protocol an agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Revision {
    /// It begins with a handshake.
    Before2026,
    /// Each request says all.
    From2026,
}

pub(crate) const REVISIONS: [Revision; 2] = [Revision::Before2026, Revision::From2026];

/// An agent over a pair of byte streams.
pub(crate) struct Agent {
    revision: Revision,
    lines: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    output: WriteHalf<DuplexStream>,
    /// What `serve` returns.
    pub(crate) serving: JoinHandle<Result<(), Error>>,
    next: u64,
    /// Messages that were not waited for yet.
    unread: VecDeque<Value>,
}

impl Agent {
    pub(crate) async fn of(client: Client, revision: Revision) -> Self {
        let (ours, theirs) = tokio::io::duplex(4 << 10);
        let (input, output) = tokio::io::split(theirs);
        let serving = tokio::spawn(easyremote::mcp::serve(client, input, output));
        let (input, output) = tokio::io::split(ours);
        let lines = BufReader::new(input).lines();
        let unread = VecDeque::new();
        let mut agent = Self { revision, lines, output, serving, next: 1, unread };
        if revision == Revision::Before2026 {
            let hello = json!({
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": { "name": "test", "version": "1" },
            });
            let answer = agent.ask("initialize", hello).await;
            assert_eq!(answer["result"]["serverInfo"]["name"], "easyremote", "{answer}");
            agent.tell("notifications/initialized", json!({})).await;
        }
        agent
    }

    pub(crate) async fn write(&mut self, message: Value) {
        let line = format!("{message}\n");
        soon(self.output.write_all(line.as_bytes())).await.unwrap();
    }

    /// Sends a notification.
    pub(crate) async fn tell(&mut self, method: &str, params: Value) {
        self.write(json!({ "jsonrpc": "2.0", "method": method, "params": params })).await;
    }

    /// Sends a request. Returns its id.
    pub(crate) async fn send(&mut self, method: &str, params: Value) -> u64 {
        let (id, params) = (self.next, stamped(self.revision, params));
        self.next += 1;
        self.write(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        id
    }

    /// Returns the next message, if there is one.
    pub(crate) async fn read(&mut self) -> Option<Value> {
        if let Some(message) = self.unread.pop_front() {
            return Some(message);
        }
        let line = soon(self.lines.next_line()).await.unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Waits for the answer to a request, and keeps other messages.
    pub(crate) async fn answer(&mut self, id: u64) -> Value {
        let mut others = VecDeque::new();
        let answer = loop {
            let message = self.read().await.expect("no answer before the end");
            if message["id"] == id {
                break message;
            }
            others.push_back(message);
        };
        others.append(&mut self.unread);
        self.unread = others;
        answer
    }

    pub(crate) async fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.send(method, params).await;
        self.answer(id).await
    }

    /// Calls a tool, and returns its result.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> Value {
        let answer = self.ask("tools/call", json!({ "name": tool, "arguments": arguments })).await;
        answer.get("result").cloned().unwrap_or_else(|| panic!("{tool}: {answer}"))
    }

    /// Closes its end, and waits until it is served no more.
    pub(crate) async fn leave(mut self) {
        self.close().await;
        while self.read().await.is_some() {}
        soon(self.serving).await.unwrap().unwrap();
    }

    /// Closes its end.
    pub(crate) async fn close(&mut self) {
        soon(self.output.shutdown()).await.unwrap();
    }
}

/// Adds what each request says since 2026-07-28.
pub(crate) fn stamped(revision: Revision, mut params: Value) -> Value {
    if revision == Revision::From2026 {
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let members = params.as_object_mut().unwrap();
        let all = members.entry("_meta").or_insert_with(|| json!({}));
        for (key, value) in meta.as_object().unwrap() {
            all[key] = value.clone();
        }
    }
    params
}
