//! Packet loss: what it costs is over soon after it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::gate::serve;
use common::{World, found_in, soon};
use common::{
    kinds_long,
    proxy::{Faults, Proxy, Way},
};
use easyremote::{Client, Node, functions, remote};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

#[remote]
async fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Callers that make one call after the other, through a proxy on each side of the gateway.
struct Load {
    proxies: [Proxy; 2],
    client: Client,
    calls: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    callers: JoinSet<()>,
    node: Node,
    world: World,
}

const CALLERS: u64 = 64;

fn lossy(loss: f64) -> Faults {
    Faults { loss, ..Faults::default() }
}

impl Load {
    async fn start() -> Self {
        let world = World::start().await;
        let proxies = [1, 2].map(|seed| Proxy::start(world.gateway.local_addr(), seed));
        let node = Node::builder(proxies[1].address()).dial(found_in(world.state_dir()));
        let node = serve(node.functions(functions![add])).await.unwrap();
        let client = Client::builder(proxies[0].address()).dial(found_in(world.state_dir()));
        let client = soon(client.multiplex(true).connect()).await.unwrap();
        let (calls, stop) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut callers = JoinSet::new();
        for n in 0..CALLERS {
            let (client, calls, stop) = (client.clone(), calls.clone(), stop.clone());
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(soon(add::call(&client, n, 1)).await.unwrap(), n + 1);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { proxies, client, calls, stop, callers, node, world }
    }

    /// Calls, and packets that came to each proxy, so far.
    fn so_far(&self) -> [u64; 3] {
        let packets = |proxy: &Proxy| {
            let counts = Way::BOTH.map(|way| proxy.counts(way));
            counts.iter().map(|counts| counts.passed + counts.lost).sum()
        };
        [self.calls.load(Ordering::Relaxed), packets(&self.proxies[0]), packets(&self.proxies[1])]
    }

    /// Packets for each call in the next `time`, on the way to the client and to the node.
    async fn per_call(&self, time: Duration) -> [f64; 2] {
        let before = self.so_far();
        sleep_until(Instant::now() + time).await;
        let after = self.so_far();
        let [calls, near, far] = [0, 1, 2].map(|i| (after[i] - before[i]) as f64);
        assert!(calls > 0.0, "no call in {time:?}");
        [near / calls, far / calls]
    }

    /// All calls have gone well, on the connections of the beginning.
    async fn ends(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(caller) = soon(self.callers.join_next()).await {
            caller.unwrap();
        }
        assert_eq!((self.client.stats().reconnects, self.node.stats().gateways), (0, 1));
        assert_eq!(self.world.gateway.stats().calls, self.node.stats().calls);
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// On one way and on both: two seconds of loss, and two until all is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_packets_again_soon_after_losses() {
    let rows = [&[0, 1][..], &[0], &[1]];
    for hops in &rows[..if kinds_long() { 3 } else { 1 }] {
        let load = Load::start().await;
        let before = load.per_call(SECOND).await;
        hops.iter().for_each(|hop| load.proxies[*hop].set_both(lossy(0.03)));
        let meanwhile = load.per_call(2 * SECOND).await;
        hops.iter().for_each(|hop| load.proxies[*hop].heal());
        let healing = load.per_call(2 * SECOND).await;
        let after = load.per_call(if kinds_long() { 20 * SECOND } else { SECOND }).await;
        let row = format!(
            "loss on {hops:?}; packets a call before {before:.2?}, meanwhile {meanwhile:.2?}, \
             in the 2 s after that {healing:.2?}, then {after:.2?}"
        );
        assert!(after.iter().all(|packets| *packets < 0.3), "{row}");
        load.ends().await;
    }
}

/// A packet that is lost now and then, as on any real network.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_packets_while_some_are_lost() {
    for loss in if kinds_long() { &[0.01, 0.001][..] } else { &[0.01] } {
        let load = Load::start().await;
        load.per_call(SECOND / 2).await;
        load.proxies.iter().for_each(|proxy| proxy.set_both(lossy(*loss)));
        // It settles first.
        load.per_call(SECOND).await;
        let packets = load.per_call(if kinds_long() { 20 * SECOND } else { 2 * SECOND }).await;
        assert!(packets.iter().all(|packets| *packets < 0.5), "{loss}: {packets:.2?} a call");
        load.ends().await;
    }
}
