//! What counts against who gives up calls: no deadline that was missed, and as much as was answered
//! makes up for it.

use std::time::Duration;

use common::gate::serve;
use common::{Probe, SayOnDrop, World, found_in, soon, until};
use common::{
    kinds_long,
    proxy::{Faults, Proxy},
};
use easyremote::gateway::GatewayLimits;
use easyremote::{Client, ErrorKind, Gateway, Node, functions, remote};
use futures::future::join_all;
use futures::{StreamExt, stream};
use tokio::time::{Instant, timeout};

#[remote]
async fn nap(ms: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    ms
}

/// Says when it starts, and is over when it is dropped.
#[remote]
async fn hang(key: u64) {
    let guard = SayOnDrop(key, "dropped");
    guard.say("started");
    std::future::pending().await
}

#[remote]
async fn zeros(n: usize) -> Vec<u8> {
    vec![0; n]
}

/// A gateway with limits, and how far away from it its node and its client are.
struct Stage {
    gateway: Gateway,
    node: Option<Node>,
    client: Client,
    world: World,
    _proxies: [Proxy; 2],
}

impl Stage {
    async fn start(limits: GatewayLimits, multiplex: bool, [near, far]: [Duration; 2]) -> Self {
        let world = World::start().await;
        let gateway = common::gateway_at("127.0.0.1:0").state_dir(world.state_dir()).limits(limits);
        let gateway = soon(gateway.serve()).await.unwrap();
        let proxies = [near, far].map(|delay| {
            let proxy = Proxy::start(gateway.local_addr(), 7);
            proxy.set_both(Faults { delay, ..Faults::default() });
            proxy
        });
        let client = Client::builder(proxies[0].address()).dial(found_in(world.state_dir()));
        let client = soon(client.multiplex(multiplex).connect()).await.unwrap();
        let mut stage = Self { gateway, node: None, client, world, _proxies: proxies };
        stage.replace_node().await;
        stage
    }

    async fn replace_node(&mut self) {
        if let Some(node) = self.node.take() {
            soon(node.shutdown()).await;
        }
        let node = Node::builder(self._proxies[1].address()).dial(found_in(self.world.state_dir()));
        let functions = functions![nap, hang, zeros];
        self.node = Some(serve(node.concurrency(4_096).functions(functions)).await.unwrap());
    }

    fn throttled(&self) -> u64 {
        self.gateway.stats().hits.throttled
    }

    /// Makes calls until `done` says so, many at a time, most of which miss their deadline; gives
    /// how many did not, and how many did.
    async fn hurry(&self, at_a_time: usize, mut done: impl FnMut(usize) -> bool) -> (usize, usize) {
        let inputs = (0..).take_while(|n| !done(*n)).map(|n| 10 + (n * 7 % 120) as u64);
        let calls = nap::map(&self.client, inputs).concurrency(at_a_time).unordered();
        let calls = calls.timeout(Duration::from_millis(50));
        // The longest run alone takes a minute.
        let ended = timeout(Duration::from_secs(120), calls.collect::<Vec<_>>()).await.unwrap();
        let in_time = ended.iter().filter(|ended| ended.is_ok()).count();
        for error in ended.iter().filter_map(|ended| ended.as_ref().err()) {
            assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
        }
        (in_time, ended.len() - in_time)
    }
}

/// Where 10 ms lie between the parties.
const DISTANCES: [[Duration; 2]; 3] = {
    let far = Duration::from_millis(10);
    [[Duration::ZERO; 2], [far, Duration::ZERO], [Duration::ZERO, far]]
};

/// Against limits so low that few of them would exceed them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_deadlines_throttle_nobody() {
    const CALLS: usize = 2_000;
    // As many as a machine can begin in time that has other things to do, too.
    const AT_A_TIME: usize = 200;
    for multiplex in [true, false] {
        for distances in DISTANCES {
            let row = format!("multiplexed {multiplex}, {distances:?} away");
            let limits = GatewayLimits::new().cancels(1, 200);
            let stage = Stage::start(limits, multiplex, distances).await;
            let (_, missed) = stage.hurry(AT_A_TIME, |n| n == CALLS).await;
            assert!(missed > CALLS / 3, "{row}: only {missed} deadlines were missed");
            assert_eq!(stage.throttled(), 0, "{row}: {missed} of {CALLS} deadlines were missed");
            until(|| stage.gateway.stats().in_flight == 0).await;
        }
    }
}

/// As many calls are in time as without a limit; what was seen first, with the default limits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missed_deadlines_cost_no_calls() {
    let time = Duration::from_secs(if kinds_long() { 60 } else { 2 });
    for distances in &DISTANCES[..if kinds_long() { 3 } else { 1 }] {
        let mut in_time = Vec::new();
        for limits in [GatewayLimits::new(), GatewayLimits::new().cancels(u32::MAX, u32::MAX)] {
            let stage = Stage::start(limits, true, *distances).await;
            let end = Instant::now() + time;
            in_time.push(stage.hurry(1_000, |_| Instant::now() > end).await.0);
            assert_eq!(stage.throttled(), 0, "{distances:?}");
        }
        let [limited, unlimited] = in_time[..] else { unreachable!("one figure for each") };
        println!("{distances:?}: {limited} in time, without limit {unlimited}");
        // A second of a shared machine is no measure, nor is a build in which few calls are in time.
        let measured = kinds_long() && !cfg!(debug_assertions);
        let enough = !measured || limited * 100 >= unlimited * 97;
        assert!(enough, "{distances:?}: {limited} in time, without limit {unlimited}");
    }
}

/// Begins calls, and drops them when they run.
async fn give_up(client: &Client, calls: usize) {
    let mut probe = Probe::new();
    let hanging: Vec<_> = (0..calls).map(|_| tokio::spawn(hang::call(client, probe.key))).collect();
    for _ in 0..calls {
        assert_eq!(probe.next().await, "started");
    }
    hanging.iter().for_each(|call| call.abort());
    for _ in 0..calls {
        assert_eq!(probe.next().await, "dropped");
    }
}

/// Few cancels, and next to none a second.
fn strict() -> GatewayLimits {
    GatewayLimits::new().cancels(1, 100)
}

#[tokio::test]
async fn answers_of_any_length_make_up_for_calls_given_up() {
    const AT_A_TIME: usize = 30;
    let rounds = if kinds_long() { 100 } else { 12 };
    let rows = [true, false].into_iter().flat_map(|multiplex| {
        [10, 20_000, 100_000].map(|length| async move {
            let stage = Stage::start(strict(), multiplex, [Duration::ZERO; 2]).await;
            for _ in 0..rounds {
                let answers = (0..AT_A_TIME).map(|_| zeros::call(&stage.client, length));
                for answer in soon(join_all(answers)).await {
                    assert_eq!(answer.unwrap().len(), length);
                }
                give_up(&stage.client, AT_A_TIME).await;
                if stage.throttled() > 0 {
                    break;
                }
            }
            (format!("multiplexed {multiplex}, answers of {length} bytes"), stage.throttled())
        })
    });
    let rows: Vec<_> = stream::iter(rows).buffer_unordered(3).collect().await;
    assert!(rows.iter().all(|(_, throttled)| *throttled == 0), "{rows:#?}");
}

#[tokio::test]
async fn lost_nodes_make_up_for_calls_given_up() {
    const AT_A_TIME: usize = 30;
    let rounds = if kinds_long() { 50 } else { 12 };
    let rows = [true, false].map(|multiplex| async move {
        let mut stage = Stage::start(strict(), multiplex, [Duration::ZERO; 2]).await;
        for _ in 0..rounds {
            let mut probe = Probe::new();
            let call = || hang::call(&stage.client, probe.key);
            let hanging: Vec<_> = (0..AT_A_TIME).map(|_| tokio::spawn(call())).collect();
            for _ in 0..AT_A_TIME {
                assert_eq!(probe.next().await, "started");
            }
            stage.replace_node().await;
            for call in hanging {
                let error = soon(call).await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NodeLost, "{error}");
            }
            give_up(&stage.client, AT_A_TIME).await;
            if stage.throttled() > 0 {
                break;
            }
        }
        (format!("multiplexed {multiplex}"), stage.throttled())
    });
    let rows = join_all(rows).await;
    assert!(rows.iter().all(|(_, throttled)| *throttled == 0), "{rows:#?}");
}

/// The limit is still one: what is given up without need is throttled.
#[tokio::test]
async fn calls_that_are_given_up_for_nothing_are_throttled() {
    for multiplex in [true, false] {
        let stage = Stage::start(strict(), multiplex, [Duration::ZERO; 2]).await;
        give_up(&stage.client, 90).await;
        assert_eq!(stage.throttled(), 0, "multiplexed {multiplex}");
        let giving_up = async {
            loop {
                give_up(&stage.client, 10).await;
            }
        };
        tokio::select! {
            () = giving_up => {}
            () = until(|| stage.throttled() > 0) => {}
        }
    }
}
