//! Client, gateway and node with a bad network between them.

use std::time::Duration;

use common::proxy::{Faults, Proxy};
use common::{SayOnDrop, World, found_in, soon};
use easyremote::node::Functions;
use easyremote::{Client, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

/// Runs until it is cancelled; says when it starts and when that happens.
#[remote]
pub(crate) async fn wait(key: u64) {
    let guard = SayOnDrop(key, "dropped");
    guard.say("started");
    std::future::pending::<()>().await;
}

/// Three items, and then none and no end.
#[remote(stream)]
pub(crate) fn three(key: u64) -> impl Stream<Item = u64> {
    let guard = SayOnDrop(key, "dropped");
    stream::iter(0..3).chain(stream::pending()).inspect(move |_| {
        let _keep = &guard;
    })
}

#[remote]
pub(crate) async fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[remote(stream)]
pub(crate) fn double(numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    numbers.map(|n| 2 * n)
}

#[remote(stream)]
pub(crate) fn echoes(items: impl Stream<Item = Vec<u8>>) -> impl Stream<Item = Vec<u8>> {
    items
}

#[remote]
pub(crate) async fn zeros(n: usize) -> Vec<u8> {
    vec![0; n]
}

pub(crate) fn functions() -> Functions {
    functions![wait, three, echo, double, echoes, zeros]
}

/// Offered by the node of a [`Bystander`].
#[remote]
async fn nearby(n: u64) -> u64 {
    n + 1
}

/// Another client and another node of a gateway, which have nothing to do with what goes wrong: all
/// their calls go well, and none waits. What the slowest of them took says how slow the machine is.
pub(crate) struct Bystander {
    stop: oneshot::Sender<()>,
    calls: JoinHandle<()>,
    slowest: watch::Receiver<Duration>,
    _node: Node,
}

impl Bystander {
    pub(crate) async fn start(world: &World) -> Self {
        let node = world.node_builder().id("bystander").functions(functions![nearby]);
        let _node = soon(node.serve()).await.unwrap();
        let client = world.client().await;
        let (stop, mut stopped) = oneshot::channel();
        let (note, slowest) = watch::channel(Duration::ZERO);
        let calls = tokio::spawn(async move {
            for n in 0.. {
                let begun = Instant::now();
                assert_eq!(soon(nearby::call(&client, n)).await.unwrap(), n + 1);
                note.send_modify(|slowest| *slowest = begun.elapsed().max(*slowest));
                if stopped.try_recv().is_ok() {
                    break;
                }
                sleep(Duration::from_millis(5)).await;
            }
        });
        Self { stop, calls, slowest, _node }
    }

    /// Waits for a call to end whose party has just been lost: how long that may take is promised.
    pub(crate) async fn noticed<F: Future>(&self, call: F) -> F::Output {
        let (output, took) = self.within(Duration::from_secs(11), call).await;
        let slowest = *self.slowest.borrow();
        assert!(slowest < took / 2, "a bystander waited {slowest:?} of {took:?}");
        output
    }

    /// Waits for a call that can be made again since now: how long that may take is promised.
    pub(crate) async fn healed<F: Future>(&self, call: F) -> F::Output {
        self.within(Duration::from_secs(16), call).await.0
    }

    /// Waits for `event`, and says how long it took: `limit` at most, and some steps of those who
    /// take part, on a slow machine.
    async fn within<F: Future>(&self, limit: Duration, event: F) -> (F::Output, Duration) {
        const STEPS: u32 = 10;
        let begun = Instant::now();
        let output = soon(event).await;
        let (took, slowest) = (begun.elapsed(), *self.slowest.borrow());
        let most = limit + STEPS * slowest;
        assert!(took < most, "took {took:?}; {limit:?} are promised, and a call takes {slowest:?}");
        (output, took)
    }

    /// All its calls have gone well.
    pub(crate) async fn has_seen_nothing(self) {
        self.stop.send(()).unwrap();
        soon(self.calls).await.unwrap();
    }
}

/// A part of the way between client and node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hop {
    ClientToGateway,
    NodeToGateway,
}

impl Hop {
    pub(crate) const BOTH: [Self; 2] = [Self::ClientToGateway, Self::NodeToGateway];
}

pub(crate) struct Path {
    pub(crate) world: World,
    pub(crate) client: Client,
    pub(crate) node: Node,
    proxies: [Proxy; 2],
}

impl Path {
    pub(crate) async fn start() -> Self {
        Self::start_with(Faults::default()).await
    }

    /// One on which this has been so from the beginning.
    pub(crate) async fn start_with(faults: Faults) -> Self {
        let world = World::start().await;
        let proxies = [1, 2].map(|seed| Proxy::start(world.gateway.local_addr(), seed));
        proxies.iter().for_each(|proxy| proxy.set_both(faults));
        let (near, far) = (proxies[0].address(), proxies[1].address());
        let node = Node::builder(far).dial(found_in(world.state_dir())).functions(functions());
        let node = soon(node.serve()).await.unwrap();
        let client = Client::builder(near).dial(found_in(world.state_dir())).connect();
        let client = soon(client).await.unwrap();
        Self { world, client, node, proxies }
    }

    pub(crate) fn proxy(&self, hop: Hop) -> &Proxy {
        &self.proxies[hop as usize]
    }

    /// Whether the connections are those of the beginning, and no call was made twice.
    pub(crate) fn is_as_it_was(&self, calls: u64) {
        let (gateway, node) = (self.world.gateway.stats(), self.node.stats());
        assert_eq!((gateway.clients, gateway.nodes, node.gateways), (1, 1, 1));
        assert_eq!((gateway.calls, node.calls), (calls, calls));
    }
}
