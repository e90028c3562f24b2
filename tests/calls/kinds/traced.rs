//! A traced call is the call that it traces: it ends, counts and is given up as that does.

use std::time::Duration;

use common::ended::{Ended, ended};
use common::gate::{Gate, OPEN, pass_blocking};
use common::{Probe, SayOnDrop, World, soon, until};
use easyremote::client::ClientLimits;
use easyremote::node::NodeLimits;
use easyremote::{Client, Context, ErrorKind, Executed, Node, Options, Retry, functions, remote};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};

#[remote]
async fn double(n: u64) -> Result<u64, String> {
    if n == 13 { Err("not 13".into()) } else { Ok(2 * n) }
}

#[remote]
async fn panics() {
    panic!("on purpose");
}

#[remote]
async fn zeros(n: usize) -> Vec<u8> {
    vec![0; n]
}

#[remote]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

#[remote]
async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, async |sum, n| sum + n).await
}

#[remote]
async fn hang(key: u64) {
    let guard = SayOnDrop(key, "dropped");
    guard.say("started");
    std::future::pending().await
}

#[remote(concurrency = 1)]
fn block(key: u64, gate: u64) {
    let guard = SayOnDrop(key, "dropped");
    guard.say("started");
    pass_blocking(gate);
}

#[remote]
async fn attempt(#[ctx] ctx: &Context) -> u64 {
    ctx.attempt()
}

/// Nobody offers it.
#[remote]
async fn nowhere() {}

struct Stage {
    world: World,
    node: Node,
    client: Client,
    traced: bool,
}

/// Makes the call or the one that is traced, and gives how it ended.
macro_rules! end {
    ($stage:expr, $call:expr) => {{
        let call: BoxFuture<'static, Ended> = match $stage.traced {
            true => {
                let call = $call.traced();
                async move { ended(call.await) }.boxed()
            }
            false => {
                let call = $call;
                async move { ended(call.await) }.boxed()
            }
        };
        call
    }};
}

impl Stage {
    async fn start(multiplex: bool, traced: bool) -> Self {
        let world = World::start().await;
        let node = world.node_builder().id("a").limits(NodeLimits::new().max_message(1 << 20));
        let functions = functions![double, panics, zeros, length, sum, hang, block, attempt];
        let node = soon(node.functions(functions).serve()).await.unwrap();
        let client = world
            .client_builder()
            .multiplex(multiplex)
            .limits(ClientLimits::new().max_message(4 << 20));
        let client = soon(client.connect()).await.unwrap();
        Self { world, node, client, traced }
    }

    /// What all parties count.
    async fn counted(&self) -> String {
        let (gateway, node) = (&self.world.gateway, &self.node);
        until(|| self.client.stats().in_flight == 0 && gateway.stats().in_flight == 0).await;
        until(|| node.stats().in_flight == 0).await;
        let (at_client, at_gateway, at_node) = (self.client.stats(), gateway.stats(), node.stats());
        format!(
            "client {:?}, gateway {:?}, node {:?}",
            (at_client.calls, at_client.retries, at_client.reconnects, at_client.streams),
            (at_gateway.calls, at_gateway.waiting, at_gateway.hits),
            (at_node.calls, at_node.waiting, at_node.repeats),
        )
    }

    /// Everything that can become of a call, in order: how it ended, and what was counted then.
    async fn told(mut self) -> Vec<String> {
        let mut told = Vec::new();
        let client = self.client.clone();
        let hurried = client.with(Options::new().timeout(Duration::ZERO));
        for (name, call) in [
            ("good", end!(self, double::call(&client, 4))),
            ("its own error", end!(self, double::call(&client, 13))),
            ("panic", end!(self, panics::call(&client))),
            ("long answer", end!(self, zeros::call(&client, 100_000))),
            ("too long an answer", end!(self, zeros::call(&client, 2 << 20))),
            ("long arguments", end!(self, length::call(&client, vec![7; 100_000]))),
            ("too long arguments", end!(self, length::call(&client, vec![7; 2 << 20]))),
            ("upload", end!(self, sum::call(&client, stream::iter(0..9)))),
            ("no function", end!(self, nowhere::call(&client))),
            ("no node", end!(self, double::call(&client, 4).on("elsewhere"))),
            ("attempts", end!(self, attempt::call(&client).retry(Retry::new().attempts(3)))),
            ("no time", end!(self, double::call(&client, 4).timeout(Duration::ZERO))),
            ("no time for the handle", end!(self, double::call(&hurried, 4))),
        ] {
            told.push(format!("{name}: {:?}; {}", soon(call).await, self.counted().await));
        }
        let mut probe = Probe::new();
        let dropped = tokio::spawn(end!(self, hang::call(&client, probe.key)));
        told.push(format!("dropped: {}", probe.next().await));
        dropped.abort();
        told.push(format!("dropped: {}; {}", probe.next().await, self.counted().await));

        let late = hang::call(&client, probe.key).timeout(Duration::from_secs(1));
        // Whose word comes first, that of the client's own clock or of another party, differs from run to
        // run, and with it what is known.
        told.push(format!("late: {:?}", soon(end!(self, late)).await.map_err(|it| it.0)));
        told.push(format!("late: {}", probe.next().await));
        told.push(format!("late: {}; {}", probe.next().await, self.counted().await));

        let gate = Gate::closed();
        let holding = tokio::spawn(block::call(&client, probe.key, gate.key));
        assert_eq!(probe.next().await, "started");
        let waits = block::call(&client, probe.key, OPEN).timeout(Duration::from_secs(1));
        let waits = tokio::spawn(end!(self, waits));
        until(|| self.world.gateway.stats().waiting == 1).await;
        told.push(format!(
            "late in the queue: {:?}",
            soon(waits).await.unwrap().map_err(|it| it.0)
        ));
        until(|| self.world.gateway.stats().waiting == 0).await;
        let waits = tokio::spawn(end!(self, block::call(&client, probe.key, OPEN)));
        until(|| self.world.gateway.stats().waiting == 1).await;
        waits.abort();
        until(|| self.world.gateway.stats().waiting == 0).await;
        gate.open();
        soon(holding).await.unwrap().unwrap();
        told.push(format!("dropped in the queue: {}", self.counted().await));
        assert_eq!((probe.next().await, probe.so_far().len()), ("dropped", 0));

        let lost = tokio::spawn(end!(self, hang::call(&client, probe.key)));
        assert_eq!(probe.next().await, "started");
        soon(self.node.shutdown()).await;
        told.push(format!("lost node: {:?}; {}", soon(lost).await.unwrap(), self.counted().await));
        self.node =
            self.world.node_builder().id("a").functions(functions![hang]).serve().await.unwrap();
        let lost = tokio::spawn(end!(self, hang::call(&client, probe.key)));
        until(|| self.node.stats().in_flight == 1).await;
        soon(self.world.gateway.shutdown()).await;
        told.push(format!("lost gateway: {:?}", soon(lost).await.unwrap()));
        told
    }
}

#[tokio::test]
async fn a_traced_call_ends_and_counts_as_one_that_is_not() {
    for multiplex in [true, false] {
        let [plain, traced] = [false, true]
            .map(|traced| async move { Stage::start(multiplex, traced).await.told().await });
        let (plain, traced) = tokio::join!(plain, traced);
        let other: Vec<_> =
            plain.iter().zip(&traced).filter(|(plain, traced)| plain != traced).collect();
        assert!(other.is_empty(), "multiplexed {multiplex}, plain and traced: {other:#?}");
    }
}

/// What both share with calls on the other way.
#[tokio::test]
async fn a_traced_call_without_time_is_late_and_has_not_run() {
    for multiplex in [true, false] {
        let stage = Stage::start(multiplex, true).await;
        let ended = soon(end!(stage, double::call(&stage.client, 4).timeout(Duration::ZERO))).await;
        let (kind, executed, _) = ended.unwrap_err();
        assert_eq!(
            (kind, executed),
            (ErrorKind::DeadlineExceeded, Executed::No),
            "multiplexed {multiplex}"
        );
    }
}
