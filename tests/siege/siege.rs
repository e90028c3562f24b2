//! A gateway in a process of its own, whose memory is watched while it is attacked and an honest
//! client keeps calling.

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::process::{Process, question, tell};
use common::{soon, until};
use easyremote::gateway::GatewayLimits;
use easyremote::{Client, Gateway, Node, Role};
use tempfile::TempDir;

use crate::functions::{add, all};

const STATE: &str = "HOSTILE_TEST_STATE";
const CALLS: &str = "HOSTILE_TEST_CALLS";

pub(crate) const KIB: u64 = 1;
pub(crate) const MIB: u64 = 1_024;

pub(crate) struct Siege {
    gateway: Process,
    pub(crate) address: SocketAddr,
    pub(crate) client_ticket: String,
    pub(crate) node_ticket: String,
    honest: Client,
    _node: Node,
    _state: TempDir,
}

impl Siege {
    pub(crate) async fn start() -> Self {
        Self::with_calls(1_024).await
    }

    /// With so many calls for each peer.
    pub(crate) async fn with_calls(calls: u32) -> Self {
        let state = tempfile::tempdir().unwrap();
        let environment = [(STATE, state.path().to_str().unwrap()), (CALLS, &*calls.to_string())];
        let mut gateway = Process::start("siege::gateway_process", environment);
        let address = gateway.line("listening ").parse().unwrap();
        let (client_ticket, node_ticket) = (gateway.line("client "), gateway.line("node "));
        let node = Node::builder(&*node_ticket).functions(all());
        let node = soon(node.serve()).await.unwrap();
        let honest = soon(Client::connect(&*client_ticket)).await.unwrap();
        let siege = Self {
            gateway,
            address,
            client_ticket,
            node_ticket,
            honest,
            _node: node,
            _state: state,
        };
        // What every gateway takes that has seen some calls.
        siege.during("warm-up", std::future::ready(()), u64::MAX).await;
        siege
    }

    /// Attacks, and goes on calling until the attack is over. Each call has to succeed, and the
    /// gateway may take `allowed` KiB more memory than before. Says how much it took.
    pub(crate) async fn during<T>(
        &self,
        name: &str,
        attack: impl Future<Output = T>,
        allowed: u64,
    ) -> (T, u64) {
        /// Also after an attack that is over at once.
        const LEAST: usize = 200;
        std::fs::write(format!("/proc/{}/clear_refs", self.gateway.id()), "5").unwrap();
        let before = self.memory("VmRSS:");
        let mut attack = Box::pin(attack);
        let (mut outcome, mut times) = (None, Vec::new());
        while outcome.is_none() || times.len() < LEAST {
            let call = async {
                let begun = Instant::now();
                assert_eq!(soon(add::call(&self.honest, 1, 2)).await.unwrap(), 3);
                begun.elapsed()
            };
            times.push(match outcome {
                Some(_) => call.await,
                None => {
                    let (took, over) = with(&mut attack, call).await;
                    outcome = over;
                    took
                }
            });
        }
        let rise = self.memory("VmHWM:").saturating_sub(before);
        times.sort_unstable();
        let (n, p99) = (times.len(), times[times.len() * 99 / 100]);
        println!("{name}: {n} honest calls, all answered, p99 {p99:.1?}; gateway +{rise} KiB");
        assert!(rise <= allowed, "{name}: {rise} KiB more, and {allowed} are allowed");
        // The attack ended before, or there was no loop.
        (outcome.expect("the attack is over"), rise)
    }

    /// Where the gateway serves HTTP, and the bearers of identities there.
    #[cfg(feature = "http")]
    pub(crate) fn http(&mut self) -> String {
        self.gateway.tell("http");
        self.gateway.line("http ")
    }

    /// How many clients the gateway has.
    pub(crate) fn clients(&mut self) -> u64 {
        self.gateway.ask("clients").parse().unwrap()
    }

    /// In KiB, by proc(5).
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.gateway.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits until the gateway's memory grows no more; says how many KiB it takes.
    pub(crate) async fn settled(&self) -> u64 {
        let mut last = (0, Instant::now());
        until(|| {
            let now = self.memory("VmRSS:");
            if now > last.0 {
                last = (now, Instant::now());
            }
            last.1.elapsed() > Duration::from_millis(500)
        })
        .await;
        last.0
    }
}

/// Waits for `event` while `other` goes on, and gives what that gives if it ends first.
async fn with<T, O>(
    other: &mut (impl Future<Output = O> + Unpin),
    event: impl Future<Output = T>,
) -> (T, Option<O>) {
    let mut event = std::pin::pin!(event);
    tokio::select! {
        happened = &mut event => (happened, None),
        over = other => (event.await, Some(over)),
    }
}

/// The gateway of a [`Siege`]; among the tests it does nothing.
#[tokio::test]
async fn gateway_process() {
    let (Ok(state), Ok(calls)) = (std::env::var(STATE), std::env::var(CALLS)) else { return };
    // Strangers stay, so that all of them are there at a time however slowly they come.
    let limits = GatewayLimits::new().authentication_timeout(Duration::from_secs(600));
    let limits = limits.calls_per_peer(calls.parse().unwrap());
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state).limits(limits);
    #[cfg(feature = "http")]
    let gateway = crate::events::identities(gateway);
    let gateway = gateway.serve().await.unwrap();
    #[cfg(feature = "http")]
    let mut servers = Vec::new();
    tell(format!("listening {}", gateway.local_addr()));
    tell(format!("client {}", gateway.ticket(Role::Client)));
    tell(format!("node {}", gateway.ticket(Role::Node)));
    while let Some(question) = question().await {
        #[cfg(feature = "http")]
        if question == "http" {
            servers.push(crate::events::serve(&gateway).await);
            continue;
        }
        tell(format!("{question} {}", gateway.stats().clients));
    }
}
