//! The tool as a process, and a world that it is pointed at.

use std::process::Stdio;
use std::time::Duration;

use common::tool::binary;
use common::{World, soon};
use easyremote::Node;
use easyremote::node::Functions;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

/// A gateway with a node, and how the tool reaches them.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) node: Option<Node>,
}

/// What a process has left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Standard output, which is one JSON document.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Standard error, which is one JSON document.
    pub(crate) fn error(&self) -> Value {
        serde_json::from_str(&self.err).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The lines of standard output as JSON.
    pub(crate) fn items(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Rig {
    pub(crate) async fn with(functions: Functions) -> Self {
        let world = World::start().await;
        let node = world.node_builder().id("node-1").tag("blue").functions(functions);
        let node = soon(node.serve()).await.unwrap();
        Self { world, node: Some(node) }
    }

    /// A rig without a node.
    pub(crate) async fn empty() -> Self {
        Self { world: World::start().await, node: None }
    }

    /// The options with which the tool finds the gateway.
    pub(crate) fn options(&self) -> Vec<String> {
        let state = self.world.state_dir().to_str().unwrap().to_owned();
        let address = self.world.gateway.local_addr().to_string();
        vec!["--gateway".to_owned(), address, "--state-dir".to_owned(), state]
    }

    /// The tool with these words behind the options.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = tool();
        command.args(self.options()).args(words);
        command
    }

    /// Runs the tool to its end.
    pub(crate) async fn run(&self, words: &[&str]) -> Ended {
        ended(self.command(words)).await
    }

    /// Runs the tool to its end, with a text as standard input.
    pub(crate) async fn fed(&self, words: &[&str], input: &str) -> Ended {
        let mut child = self.command(words).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        finish(child).await
    }
}

/// The tool, with pipes and without what the environment says.
pub(crate) fn tool() -> Command {
    let mut command = Command::new(binary("cli"));
    command.env_remove("EASYREMOTE_GATEWAY").env_remove("NO_COLOR").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a command to its end.
pub(crate) async fn ended(mut command: Command) -> Ended {
    finish(command.spawn().unwrap()).await
}

/// Waits for the end of a process.
pub(crate) async fn finish(child: Child) -> Ended {
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output());
    let output = output.await.expect("the tool did not end in a minute").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Sends a signal, `INT` for example.
pub(crate) fn signal(child: &Child, signal: &str) {
    // The shell has `kill` built in, and needs no unsafe code.
    let command = format!("kill -{signal} {}", child.id().unwrap());
    let sent = std::process::Command::new("sh").args(["-c", &command]).status();
    assert!(sent.unwrap().success());
}
