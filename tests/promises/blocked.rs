//! Programs that do what they must not: they block every thread of their runtime.

use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use common::offered::add;
use common::{Probe, World, say, soon};
use easyremote::client::Io;
use easyremote::{Client, Options, functions, remote};
use tokio::runtime::{Builder, Runtime, RuntimeFlavor};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::task::{JoinHandle, spawn_blocking};

/// Longer than any party waits for one that is silent.
const BLOCKED: Duration = Duration::from_secs(30);

#[remote]
async fn block(key: u64) {
    say(key, "blocks");
    std::thread::sleep(BLOCKED);
}

#[tokio::test]
async fn blocked_workers_lose_neither_the_node_nor_a_heartbeat() {
    let world = World::start().await;
    let runtime = multi();
    let (send, node) = mpsc::channel();
    let builder = world.node_builder().functions(functions![block, add]);
    runtime.spawn(async move { send.send(builder.serve().await.unwrap()) });
    let node = tokio::task::spawn_blocking(move || node.recv().unwrap()).await.unwrap();
    let client = world.client().await;
    let mut probe = Probe::new();
    let calls: Vec<_> =
        (0..WORKERS).map(|_| tokio::spawn(block::call(&client, probe.key))).collect();
    for _ in 0..WORKERS {
        assert_eq!(probe.next().await, "blocks");
    }
    // All of the time, what has another thread to run on runs.
    let mut n = 0;
    while calls.iter().any(|call| !call.is_finished()) {
        assert_eq!(soon(add::call(&client, n, 1)).await.unwrap(), n + 1);
        assert_eq!((node.stats().gateways, world.gateway.stats().nodes), (1, 1));
        n += 1;
    }
    // On the connection of the beginning: with another one, they would have failed.
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(n > 100, "{n} calls in half a minute");
    soon(node.shutdown()).await;
    runtime.shutdown_background();
}

const WORKERS: usize = 2;

fn current() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn multi() -> Runtime {
    Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build().unwrap()
}

#[remote]
async fn increment(n: i64) -> i64 {
    n + 1
}

/// Ends while its caller is blocked.
#[remote]
async fn lasting() {
    tokio::time::sleep(BLOCKED / 2).await;
}

/// Blocks this thread, and all workers of the runtime that it is in, for [`BLOCKED`].
fn block_runtime(workers: usize) {
    let all = Arc::new(Barrier::new(workers + 1));
    for _ in 0..workers {
        let all = all.clone();
        // Each needs a worker to itself, because none goes on before the last has come.
        tokio::spawn(async move {
            all.wait();
            std::thread::sleep(BLOCKED);
        });
    }
    all.wait();
    std::thread::sleep(BLOCKED);
}

/// A runtime with a node and a client, as the test sees it.
struct Blocked {
    /// What the runtime's thread returns once both are shut down.
    party: JoinHandle<()>,
    /// Resolves when the runtime is not blocked any more, and nothing was lost.
    over: oneshot::Receiver<()>,
    /// Its drop ends the party.
    release: oneshot::Sender<()>,
    /// A client that calls its node.
    client: Client,
}

impl Blocked {
    /// Returns when node and client are ready; then their runtime blocks.
    async fn start(world: &World, runtime: fn() -> Runtime, io: Io, id: &str) -> Self {
        let (node, client) = (world.node_builder().id(id).io(io), world.client_builder().io(io));
        let (told, ready) = oneshot::channel();
        let (tell, over) = oneshot::channel();
        let (release, released) = oneshot::channel();
        // A node that another party has shut down meanwhile would lose the call.
        let at_own = Options::new().on(id);
        let party = spawn_blocking(move || {
            let runtime = runtime();
            let workers = match runtime.handle().runtime_flavor() {
                RuntimeFlavor::CurrentThread => 0,
                _ => WORKERS,
            };
            runtime.block_on(async {
                let node = soon(node.functions(functions![add, increment]).serve()).await.unwrap();
                let client = soon(client.connect()).await.unwrap();
                // Made before, and answered meanwhile.
                let call = tokio::spawn(lasting::call(&client));
                assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
                told.send(()).unwrap();
                block_runtime(workers);
                soon(call).await.unwrap().unwrap();
                let stats = client.stats();
                assert_eq!((stats.connected, stats.reconnects, stats.retries), (true, 0, 0));
                let client = client.with(at_own);
                assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
                tell.send(()).unwrap();
                let _ = soon(released).await;
                soon(node.shutdown()).await;
            });
        });
        soon(ready).await.unwrap();
        Self { party, over, release, client: world.client().await.with(Options::new().on(id)) }
    }
}

/// Neither is lost wherever it does its I/O, and sync functions of the node go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_program_keeps_its_connections() {
    let world = World::start().await;
    let _other = world.node_builder().id("other").functions(functions![lasting]).serve().await;
    let mut parties = Vec::new();
    for runtime in [current, multi] {
        for io in [Io::Auto, Io::Runtime, Io::Thread] {
            let id = format!("blocked-{}", parties.len());
            parties.push(Blocked::start(&world, runtime, io, &id).await);
        }
    }
    // Run once the runtimes are back.
    let later: Vec<_> =
        parties.iter().map(|it| tokio::spawn(increment::call(&it.client, 1))).collect();
    let mut n = 0;
    while parties.iter_mut().all(|it| it.over.try_recv() == Err(TryRecvError::Empty)) {
        for Blocked { client, .. } in &parties {
            assert_eq!(soon(add::call(client, n, 1)).await.unwrap(), n + 1);
        }
        n += 1;
    }
    assert!(n > 100, "{n} calls at each in half a minute");
    for later in later {
        // On the connection of the beginning: with another one, it would have failed.
        assert_eq!(soon(later).await.unwrap().unwrap(), 2);
    }
    for Blocked { party, release, .. } in parties {
        drop(release);
        soon(party).await.unwrap();
    }
}
