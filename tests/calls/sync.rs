//! Sync functions: short ones share threads of the node, long ones have a thread each, and `inline`
//! ones run where their call has arrived.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use common::gate::{Gate, OPEN, pass_blocking};
use common::{Probe, World, found_in, multiplex, say, soon, until};
use easyremote::node::{Done, Io, Next, NodeBuilder, NodeLimits};
use easyremote::{Client, Context, Error, ErrorKind, Executed, Node, functions, remote};
use futures::FutureExt;
use futures::future::join_all;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How often each function has run, by the number that its caller gave it.
static RUNS: LazyLock<Mutex<HashMap<u64, u64>>> = LazyLock::new(Mutex::default);

fn number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn runs_of(n: u64) -> u64 {
    RUNS.lock().unwrap().get(&n).copied().unwrap_or(0)
}

fn count(n: u64) {
    *RUNS.lock().unwrap().entry(n).or_default() += 1;
}

#[remote]
fn note(n: u64) -> u64 {
    count(n);
    n
}

#[remote(inline)]
fn note_inline(n: u64) -> u64 {
    count(n);
    n
}

#[remote]
fn wait_at(gate: u64, key: u64) {
    if gate != OPEN {
        say(key, "started");
    }
    pass_blocking(gate);
}

#[remote]
fn fail(panics: bool) {
    assert!(!panics, "on purpose");
}

#[remote(inline)]
fn fail_inline(panics: bool) {
    assert!(!panics, "on purpose");
}

/// Whether the thread is one of the user's runtime, and whether that is the current runtime.
#[remote(inline)]
fn place(millis: u64) -> (bool, bool) {
    thread::sleep(Duration::from_millis(millis));
    let runtime = Handle::current().id().to_string();
    (thread::current().name() == Some("user"), *USERS.lock().unwrap() == Some(runtime))
}

static USERS: Mutex<Option<String>> = Mutex::new(None);

/// How many of the counted functions run now, and the most at a time.
static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn counted() {
    MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    thread::yield_now();
    RUNNING.fetch_sub(1, Ordering::SeqCst);
}

#[remote(concurrency = 1)]
fn counted_alone() {
    counted();
}

#[remote]
fn counted_here() {
    counted();
}

/// A runtime of either kind, whose threads are named `user`.
struct Users {
    runtime: Option<Runtime>,
    /// Ends the loop of a current_thread runtime.
    _stop: Option<oneshot::Sender<()>>,
    handle: Handle,
}

impl Users {
    fn all() -> [Self; 2] {
        let mut several = Builder::new_multi_thread();
        let several = several.worker_threads(2).thread_name("user").enable_all().build().unwrap();
        let one = Builder::new_current_thread().thread_name("user").enable_all().build().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let handle = one.handle().clone();
        let run = move || {
            let _ = one.block_on(stopped);
            one.shutdown_background();
        };
        thread::Builder::new().name("user".to_owned()).spawn(run).unwrap();
        let first = several.handle().clone();
        [
            Self { runtime: Some(several), _stop: None, handle: first },
            Self { runtime: None, _stop: Some(stop), handle },
        ]
    }

    async fn serve(&self, node: NodeBuilder) -> Node {
        soon(self.handle.spawn(node.serve())).await.unwrap().unwrap()
    }
}

impl Drop for Users {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Calls the functions until the node knows that they are short.
async fn warm(client: &Client) {
    for _ in 0..50 {
        soon(wait_at::call(client, OPEN, 0)).await.unwrap();
        soon(note::call(client, u64::MAX)).await.unwrap();
        soon(note_inline::call(client, u64::MAX)).await.unwrap();
    }
}

#[tokio::test]
async fn no_call_waits_for_those_that_block() {
    for (users, limit) in Users::all().into_iter().zip([100, 40]) {
        let world = World::start().await;
        let limits = NodeLimits::new().blocking_threads(limit);
        let node =
            world.node_builder().limits(limits).functions(functions![note, note_inline, wait_at]);
        let _node = users.serve(node).await;
        let client = world.client().await;
        warm(&client).await;
        // A function that was short blocks, in all calls that have arrived together: one thread
        // stays free.
        let (gate, mut probe) = (Gate::closed(), Probe::new());
        let blocked: Vec<_> =
            (1..limit).map(|_| tokio::spawn(wait_at::call(&client, gate.key, probe.key))).collect();
        for _ in 1..limit {
            assert_eq!(probe.next().await, "started");
        }
        for _ in 0..20 {
            let together = (0..20).map(|_| {
                let (one, other) = (number(), number());
                let calls = (note::call(&client, one), note_inline::call(&client, other));
                async move { (calls.0.await.unwrap(), calls.1.await.unwrap()) == (one, other) }
            });
            assert!(soon(join_all(together)).await.into_iter().all(|same| same));
        }
        gate.open();
        for call in soon(join_all(blocked)).await {
            call.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn the_limit_of_threads_holds_for_those_that_block() {
    for users in Users::all() {
        let world = World::start().await;
        let limits = NodeLimits::new().blocking_threads(1);
        let node = world.node_builder().limits(limits);
        let node = node.functions(functions![note, note_inline, wait_at]);
        let node = users.serve(node).await;
        let client = world.client().await;
        warm(&client).await;
        let (gate, mut probe) = (Gate::closed(), Probe::new());
        let blocked: Vec<_> =
            (0..10).map(|_| tokio::spawn(wait_at::call(&client, gate.key, probe.key))).collect();
        assert_eq!(probe.next().await, "started");
        until(|| node.stats().in_flight == 10 && node.stats().waiting == 9).await;
        assert!(probe.so_far().is_empty());
        gate.open();
        for call in soon(join_all(blocked)).await {
            call.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn short_functions_keep_to_their_limits() {
    for users in Users::all() {
        for one_thread in [false, true] {
            let world = World::start().await;
            let limits = NodeLimits::new().blocking_threads(if one_thread { 1 } else { 64 });
            let node = world.node_builder().limits(limits);
            let _node = users.serve(node.functions(functions![counted_alone, counted_here])).await;
            let client = world.client().await;
            MOST.store(0, Ordering::SeqCst);
            let calls = (0..1_000).map(|n| {
                let client = &client;
                async move {
                    match one_thread && n % 2 == 0 {
                        true => counted_here::call(client).await,
                        false => counted_alone::call(client).await,
                    }
                }
            });
            for call in soon(join_all(calls)).await {
                call.unwrap();
            }
            assert_eq!(MOST.load(Ordering::SeqCst), 1);
        }
    }
}

#[tokio::test]
async fn a_panic_fails_its_own_call_only() {
    for users in Users::all() {
        let world = World::start().await;
        let node = world.node_builder().functions(functions![fail, fail_inline]);
        let node = users.serve(node).await;
        let client = world.client().await;
        for round in 0..20 {
            let calls = (0..50).map(|n| {
                let (client, panics) = (&client, round > 2 && n % 3 == 0);
                async move {
                    let ended = match n % 2 {
                        0 => fail::call(client, panics).await,
                        _ => fail_inline::call(client, panics).await,
                    };
                    (panics, ended)
                }
            });
            for (panics, ended) in soon(join_all(calls)).await {
                match panics {
                    false => ended.unwrap(),
                    true => assert_eq!(ended.unwrap_err().kind(), ErrorKind::Panicked),
                }
            }
        }
        until(|| node.stats().in_flight == 0).await;
    }
}

/// Calls `note` and `note_inline` with new numbers. Each is given up at random, or has a deadline at
/// random, or is waited for. Returns the numbers, and the ends of those that were not given up.
async fn call_many(client: &Client, n_calls: u64) -> Vec<(u64, Option<Result<u64, Error>>)> {
    let one = |i: u64| {
        let (client, n) = (client.clone(), number());
        let limit = Duration::from_micros(fastrand::u64(1..5_000));
        tokio::spawn(async move {
            let call = if i.is_multiple_of(2) {
                let call = note::call(&client, n);
                if i.is_multiple_of(3) { call.timeout(limit).boxed() } else { call.boxed() }
            } else {
                let call = note_inline::call(&client, n);
                if i.is_multiple_of(3) { call.timeout(limit).boxed() } else { call.boxed() }
            };
            match i % 3 {
                1 => (n, timeout(limit, call).await.ok()),
                _ => (n, Some(call.await)),
            }
        })
    };
    let calls: Vec<_> = (0..n_calls).map(one).collect();
    soon(join_all(calls)).await.into_iter().map(Result::unwrap).collect()
}

/// Checks that what is said of each call is true.
fn check(ended: Vec<(u64, Option<Result<u64, Error>>)>) {
    for (n, ended) in ended {
        match ended {
            Some(Ok(same)) => assert_eq!((same, runs_of(n)), (n, 1)),
            Some(Err(error)) if error.executed() == Executed::No => {
                assert_eq!(runs_of(n), 0, "{error:?}");
            }
            Some(Err(_)) | None => assert!(runs_of(n) <= 1),
        }
    }
}

#[tokio::test]
async fn each_call_runs_at_most_once_and_says_so() {
    for users in Users::all() {
        let world = World::start().await;
        let limits = NodeLimits::new().blocking_threads(3);
        let node = world.node_builder().limits(limits);
        let node = users.serve(node.functions(functions![note, note_inline, wait_at])).await;
        let client = world.client().await;
        warm(&client).await;
        for round in 0..30 {
            let (gate, probe) = (Gate::closed(), Probe::new());
            // In every third round, one of the threads is blocked.
            let blocked =
                (round % 3 == 0).then(|| tokio::spawn(wait_at::call(&client, gate.key, probe.key)));
            check(call_many(&client, 100).await);
            gate.open();
            if let Some(blocked) = blocked {
                soon(blocked).await.unwrap().unwrap();
            }
        }
        until(|| node.stats().in_flight == 0).await;
    }
}

/// Ends a node in one of three ways while its functions block and more calls arrive.
async fn end_node(end: &'static str, users: Users) {
    let world = World::start().await;
    let node = world.node_builder().functions(functions![note, note_inline, wait_at]);
    let node = users.serve(node).await;
    // Calls that no node has started yet wait for this long for another one.
    let dial = found_in(world.state_dir()).connect_timeout(Duration::from_secs(2));
    let client = soon(world.client_builder().dial(dial).connect()).await.unwrap();
    warm(&client).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let blocked: Vec<_> =
        (0..20).map(|_| tokio::spawn(wait_at::call(&client, gate.key, probe.key))).collect();
    assert_eq!(probe.next().await, "started");
    let ending = async {
        let mut users = Some(users);
        match end {
            "runtime" => drop(users.take()),
            "shutdown" => node.shutdown().await,
            _ => drop(node.drain(Duration::from_secs(1)).await),
        }
        soon(node.closed()).await;
        users
    };
    let (ended, _users) = tokio::join!(call_many(&client, 500), ending);
    for call in soon(join_all(blocked)).await {
        let error = call.unwrap().unwrap_err();
        assert_ne!(error.executed(), Executed::Yes, "{end}: {error:?}");
    }
    gate.open();
    check(ended);
}

#[tokio::test]
async fn calls_end_with_their_node_or_its_runtime() {
    let ends = ["runtime", "shutdown", "drain"].into_iter();
    let ends = ends.flat_map(|end| Users::all().map(|users| end_node(end, users)));
    join_all(ends).await;
}

#[tokio::test]
async fn an_inline_function_runs_where_its_call_arrives_unless_it_is_slow() {
    for users in Users::all() {
        *USERS.lock().unwrap() = Some(users.handle.id().to_string());
        let world = World::start().await;
        // Calls arrive on a thread that is not one of the users'.
        let node = world.node_builder().io(Io::Thread).functions(functions![place]);
        let _node = users.serve(node).await;
        let client = world.client().await;
        let place = |millis| place::call(&client, millis).map(Result::unwrap);
        // Nothing is known of it yet.
        assert_eq!(soon(place(0)).await, (true, true));
        if !multiplex() {
            for _ in 0..50 {
                assert_eq!(soon(place(0)).await, (true, true));
            }
            continue;
        }
        soon(async { while place(0).await != (false, true) {} }).await;
        soon(place(20)).await;
        assert_eq!(soon(place(0)).await, (true, true));
    }
}

#[tokio::test]
async fn an_inline_function_inside_middleware_runs_on_threads_of_the_user() {
    async fn pass(ctx: Context, next: Next) -> Result<Done, Error> {
        next.run(ctx).await
    }
    for users in Users::all() {
        let world = World::start().await;
        let node = world.node_builder().wrap(pass).functions(functions![place]);
        let _node = users.serve(node).await;
        let client = world.client().await;
        for _ in 0..50 {
            assert!(soon(place::call(&client, 0)).await.unwrap().0);
        }
    }
}
