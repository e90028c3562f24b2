//! Gateway, node and client as processes of their own, for what can only be measured that way.
//!
//! A bench calls [`role`] first: in the parent it returns, in a child it runs the child's part.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use easyremote::client::ClientLimits;
use easyremote::gateway::GatewayLimits;
use easyremote::node::Functions;
use easyremote::node::NodeLimits;
use easyremote::{Client, Node};
use tempfile::TempDir;

const ROLE: &str = "TRIO_ROLE";
const ADDRESS: &str = "TRIO_ADDRESS";
const STATE: &str = "TRIO_STATE";

/// Longest message: enough for a stream of 100 MB as one answer.
const MAX_MESSAGE: usize = 256 << 20;

/// A gateway and a node, each a process.
pub struct Trio {
    pub gateway: Process,
    pub node: Process,
    address: SocketAddr,
    state: TempDir,
}

impl Trio {
    pub fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let (gateway, bound) = Process::start("gateway", nowhere, &state);
        let address = bound.parse().unwrap();
        let (node, _) = Process::start("node", address, &state);
        Self { gateway, node, address, state }
    }

    /// Starts a client process, whose part is called `part`.
    pub fn client(&self, part: &str) -> Process {
        Process::start(part, self.address, &self.state).0
    }
}

/// A child that answers questions, a line each.
pub struct Process {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Process {
    fn start(role: &str, address: SocketAddr, state: &TempDir) -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .env(ROLE, role)
            .env(ADDRESS, address.to_string())
            .env(STATE, state.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let questions = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, questions, answers };
        let ready = process.answer();
        (process, ready)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, question: &str) -> String {
        writeln!(self.questions, "{question}").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let n = self.answers.read_line(&mut line).unwrap();
        assert!(n > 0, "a child has died");
        line.trim().to_owned()
    }

    /// Begins to watch the peak of the process's memory.
    pub fn mark(&mut self) {
        self.ask("mark");
    }

    /// How much above its memory at [`mark`](Self::mark) the peak has been, in KiB.
    pub fn rise_kib(&mut self) -> u64 {
        self.ask("rise").parse().unwrap()
    }

    /// Processor time used so far.
    pub fn cpu(&mut self) -> Duration {
        Duration::from_millis(self.ask("cpu").parse().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: runs its part and does not return. `client` answers the questions of client parts.
pub fn role<F, Fut>(functions: fn() -> Functions, client: F)
where
    F: Fn(Client, String, String) -> Fut,
    Fut: Future<Output = String>,
{
    let Ok(role) = std::env::var(ROLE) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let address = std::env::var(ADDRESS).unwrap();
        let state = std::env::var(STATE).unwrap();
        match role.as_str() {
            "gateway" => {
                let gateway = crate::gateway_at(address)
                    .state_dir(state)
                    .limits(GatewayLimits::new().max_message(MAX_MESSAGE));
                let gateway = gateway.serve().await.unwrap();
                say(gateway.local_addr());
                while let Some(question) = next_line().await {
                    say(about_process(&question).unwrap_or_default());
                }
            }
            "node" => {
                let node = Node::builder(address)
                    .dial(crate::found_in(state))
                    .limits(NodeLimits::new().max_message(MAX_MESSAGE));
                let _node = node.functions(functions()).serve().await.unwrap();
                say("ready");
                while let Some(question) = next_line().await {
                    say(about_process(&question).unwrap_or_default());
                }
            }
            part => {
                let builder = Client::builder(address)
                    .dial(crate::found_in(state))
                    .limits(ClientLimits::new().max_message(MAX_MESSAGE));
                let connected = builder.connect().await.unwrap();
                say("ready");
                while let Some(question) = next_line().await {
                    match about_process(&question) {
                        Some(answer) => say(answer),
                        None => say(client(connected.clone(), part.to_owned(), question).await),
                    }
                }
            }
        }
    });
    std::process::exit(0);
}

fn say(what: impl std::fmt::Display) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

async fn next_line() -> Option<String> {
    let read = || {
        let mut line = String::new();
        let n = std::io::stdin().read_line(&mut line).unwrap_or(0);
        (n > 0).then(|| line.trim().to_owned())
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

/// Answers the questions that every process can answer about itself.
fn about_process(question: &str) -> Option<String> {
    static MARKED: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    Some(match question {
        "mark" => {
            // Resets the peak (proc(5)).
            std::fs::write("/proc/self/clear_refs", "5").unwrap();
            MARKED.store(status_kib("VmRSS:"), std::sync::atomic::Ordering::Relaxed);
            "marked".to_owned()
        }
        "rise" => {
            let marked = MARKED.load(std::sync::atomic::Ordering::Relaxed);
            status_kib("VmHWM:").saturating_sub(marked).to_string()
        }
        "cpu" => cpu_ms().to_string(),
        _ => return None,
    })
}

fn status_kib(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// User and system time of this process, from clock ticks of 10 ms (proc(5), fields 14 and 15).
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() * 10
}
