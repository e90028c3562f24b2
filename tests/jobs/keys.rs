//! Calls with a key of their caller: one run for all of them, while its node remembers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use common::gate::{Gate, OPEN, pass, pass_blocking};
use common::{Probe, SayOnDrop, World, say, serving, soon, until};
use easyremote::client::JobState;
use easyremote::node::NodeLimits;
use easyremote::{
    CallError, Client, Context, ErrorKind, Executed, Gateway, Node, Role, functions, remote,
};
use fastrand::Rng;
use futures::{Stream, StreamExt, stream};
use serde_json::json;
use tokio::task::{JoinSet, yield_now};

#[remote]
async fn wait(key: u64, gate: u64) -> u64 {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    pass(gate).await;
    key
}

#[remote]
fn grind(key: u64, gate: u64) -> u64 {
    say(key, "started");
    pass_blocking(gate);
    key
}

#[remote(detached)]
async fn stay(key: u64, gate: u64) -> u64 {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    pass(gate).await;
    key
}

#[remote]
fn divide(key: u64, a: u64, b: u64) -> Result<u64, String> {
    say(key, "started");
    a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
}

#[remote]
fn fall(key: u64) -> u64 {
    say(key, "started");
    panic!("no luck")
}

#[remote]
async fn fill(gate: u64, length: usize) -> Vec<u8> {
    pass(gate).await;
    vec![7; length]
}

#[remote]
async fn place(#[ctx] ctx: &Context, gate: u64) -> String {
    pass(gate).await;
    ctx.node().to_owned()
}

#[remote]
async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, n| async move { sum + n }).await
}

#[tokio::test]
async fn calls_with_one_key_share_one_run_and_its_answer() {
    for multiplex in [true, false] {
        let (world, node, other) = World::with(functions![wait]).await;
        let client = world.client_builder().multiplex(multiplex).connect();
        let client = soon(client).await.unwrap();
        let (gate, mut probe) = (Gate::closed(), Probe::new());
        let call = |client: &Client| tokio::spawn(wait::call(client, probe.key, gate.key).key("k"));
        let calls = [call(&client), call(&client), call(&other)];
        assert_eq!(probe.next().await, "started");
        until(|| node.stats().in_flight == 3).await;
        gate.open();
        for call in calls {
            assert_eq!(soon(call).await.unwrap().unwrap(), probe.key);
        }
        let traced = wait::call(&client, probe.key, gate.key).traced().key("k");
        assert_eq!(soon(traced).await.unwrap().0, probe.key);
        assert_eq!(probe.so_far(), ["dropped"]);
        // Another key is another run.
        assert_eq!(
            soon(wait::call(&client, probe.key, gate.key).key("l")).await.unwrap(),
            probe.key
        );
        assert_eq!(probe.so_far(), ["started", "dropped"]);
        until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
    }
}

#[tokio::test]
async fn other_arguments_under_one_key_are_a_mistake() {
    let (_world, client) = serving(functions![divide, wait, sum]).await;
    let mut probe = Probe::new();
    let key = probe.key;
    assert_eq!(soon(divide::call(&client, key, 6, 3).key("k")).await.unwrap(), 2);
    let error = soon(divide::call(&client, key, 6, 2).key("k")).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::InvalidInput, Executed::No),
        "{error}"
    );
    let by_name = client.call_json("divide", json!([key, 6, 3])).key("k");
    let CallError::Remote(error) = soon(by_name).await.unwrap_err() else { panic!() };
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::InvalidInput, Executed::No),
        "{error}"
    );
    let error = soon(divide::call(&client, key, 6, 3).key("k").spawn()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::InvalidInput, Executed::No),
        "{error}"
    );
    assert_eq!(probe.so_far(), ["started"]);
    // By name, and another function: keys of their own.
    for _ in 0..2 {
        let by_name = client.call_json("divide", json!([key, 6, 3])).key("by name");
        assert_eq!(soon(by_name).await.unwrap(), json!(2));
        assert_eq!(soon(wait::call(&client, key, OPEN).key("k")).await.unwrap(), key);
    }
    assert_eq!(probe.so_far(), ["started", "started", "dropped"]);

    for odd in [String::new(), "x".repeat(257)] {
        let error = soon(wait::call(&client, key, OPEN).key(odd)).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    }
    let error = soon(sum::call(&client, stream::iter([1])).key("k")).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    assert_eq!(soon(wait::call(&client, key, OPEN).key("é".repeat(128))).await.unwrap(), key);
}

#[tokio::test]
async fn an_error_is_an_answer_too() {
    let (_world, client) = serving(functions![divide, fall]).await;
    let mut probe = Probe::new();
    for _ in 0..3 {
        let error = soon(divide::call(&client, probe.key, 6, 0).key("k")).await.unwrap_err();
        assert!(matches!(error, CallError::Function(text) if text == "division by zero"));
        let error = soon(fall::call(&client, probe.key).key("k")).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes));
    }
    assert_eq!(probe.so_far(), ["started", "started"]);
}

#[tokio::test]
async fn each_caller_has_its_own_deadline_and_leaves_alone() {
    let (_world, client) = serving(functions![wait]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let hasty = wait::call(&client, probe.key, gate.key).key("k");
    let hasty = tokio::spawn(hasty.timeout(Duration::from_millis(400)));
    assert_eq!(probe.next().await, "started");
    let patient = tokio::spawn(wait::call(&client, probe.key, gate.key).key("k"));
    let dropped = tokio::spawn(wait::call(&client, probe.key, gate.key).key("k"));
    let error = soon(hasty).await.unwrap().unwrap_err();
    let executed = error.executed();
    assert_eq!((error.kind(), executed), (ErrorKind::DeadlineExceeded, Executed::Maybe), "{error}");
    dropped.abort();
    gate.open();
    assert_eq!(soon(patient).await.unwrap().unwrap(), probe.key);
    assert_eq!(probe.so_far(), ["dropped"]);
}

#[tokio::test]
async fn a_run_without_callers_is_cancelled_and_not_run_again() {
    let (_world, client) = serving(functions![wait, stay]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let calls = [(); 3].map(|()| tokio::spawn(wait::call(&client, probe.key, gate.key).key("k")));
    assert_eq!(probe.next().await, "started");
    calls.iter().for_each(|call| call.abort());
    assert_eq!(probe.next().await, "dropped");
    let error = soon(wait::call(&client, probe.key, gate.key).key("k")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::Cancelled, Executed::Maybe),
        "{error}"
    );
    assert!(probe.so_far().is_empty());

    // A detached function goes on, and leaves its answer.
    let call = tokio::spawn(stay::call(&client, probe.key, gate.key).key("k"));
    assert_eq!(probe.next().await, "started");
    call.abort();
    assert!(soon(call).await.unwrap_err().is_cancelled());
    gate.open();
    assert_eq!(soon(stay::call(&client, probe.key, gate.key).key("k")).await.unwrap(), probe.key);
    assert_eq!(probe.so_far(), ["dropped"]);
}

#[tokio::test]
async fn a_run_that_never_started_is_forgotten() {
    let world = World::start().await;
    let node = world.node_builder().limits(NodeLimits::new().blocking_threads(1));
    let node = soon(node.functions(functions![grind]).serve()).await.unwrap();
    let client = world.client().await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let first = tokio::spawn(grind::call(&client, probe.key, gate.key));
    assert_eq!(probe.next().await, "started");
    let hasty = grind::call(&client, probe.key, OPEN).key("k").timeout(Duration::from_millis(300));
    let error = soon(hasty).await.unwrap_err();
    // The node says so, unless the gateway has been quicker.
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert_ne!(error.executed(), Executed::Yes);
    until(|| node.stats().in_flight == 1).await;
    let second = tokio::spawn(grind::call(&client, probe.key, OPEN).key("k"));
    until(|| node.stats().in_flight == 2).await;
    assert!(probe.so_far().is_empty());
    gate.open();
    assert_eq!(soon(second).await.unwrap().unwrap(), probe.key);
    soon(first).await.unwrap().unwrap();
    assert_eq!(probe.so_far(), ["started"]);
}

#[tokio::test]
async fn a_spawn_with_a_key_may_be_repeated() {
    let (world, node, client) = World::with(functions![wait]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let of = probe.key;
    let spawn = || wait::call(&client, of, gate.key).key("run-1").spawn();
    let job = soon(spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    for _ in 0..3 {
        assert_eq!(soon(spawn()).await.unwrap().id(), job.id());
    }
    let error = soon(wait::call(&client, probe.key, gate.key).key("run-1")).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    gate.open();
    assert_eq!(soon(job.result()).await.unwrap(), probe.key);
    let again = soon(spawn()).await.unwrap();
    assert_eq!(again.id(), job.id());
    assert_eq!(soon(again.status()).await.unwrap().state, JobState::Succeeded);
    assert_eq!(probe.so_far(), ["dropped"]);
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn what_does_not_fit_reaches_those_who_wait_for_it_only() {
    let world = World::start().await;
    let node = world.node_builder().limits(NodeLimits::new().kept(64 << 10));
    let node = soon(node.functions(functions![fill]).serve()).await.unwrap();
    let client = world.client().await;
    let gate = Gate::closed();
    let call = || fill::call(&client, gate.key, 40_000).key("k");
    let calls = [tokio::spawn(call()), tokio::spawn(call())];
    until(|| node.stats().in_flight == 2).await;
    gate.open();
    for call in calls {
        assert_eq!(soon(call).await.unwrap().unwrap().len(), 40_000);
    }
    let error = soon(call()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes), "{error}");
    let mut kept = 0;
    let error = loop {
        match soon(fill::call(&client, OPEN, 1_000).key(format!("key {kept}"))).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No), "{error}");
    assert!((4..16).contains(&kept), "{kept}");
    // The last one may have had room for its run, and not for its answer.
    for n in 0..kept - 1 {
        let call = fill::call(&client, OPEN, 1_000).key(format!("key {n}"));
        assert_eq!(soon(call).await.unwrap().len(), 1_000);
    }
}

/// Two nodes of one place each, of which the first is that of `key`.
async fn two_nodes(world: &World, key: &str) -> (Client, Node, Node) {
    let node = |id| {
        let node = world.node_builder().id(id).concurrency(1).functions(functions![place]);
        async move { soon(node.serve()).await.unwrap() }
    };
    let (one, two) = (node("one").await, node("two").await);
    let client = world.client().await;
    let owner = soon(place::call(&client, OPEN).key(key)).await.unwrap();
    if owner == "one" { (client, one, two) } else { (client, two, one) }
}

#[tokio::test]
async fn a_key_waits_for_its_node_though_another_is_idle() {
    let world = World::start().await;
    let (client, owner, _other) = two_nodes(&world, "k").await;
    for key in ["k", "another key", "and so on"] {
        let first = soon(place::call(&client, OPEN).key(key)).await.unwrap();
        for _ in 0..20 {
            assert_eq!(soon(place::call(&client, OPEN).key(key)).await.unwrap(), first);
        }
    }
    let gate = Gate::closed();
    let busy = tokio::spawn(place::call(&client, gate.key).on(owner.id()));
    until(|| owner.stats().in_flight == 1).await;
    let waiting = tokio::spawn(place::call(&client, OPEN).key("k"));
    until(|| world.gateway.stats().waiting == 1).await;
    gate.open();
    assert_eq!(soon(waiting).await.unwrap().unwrap(), owner.id());
    soon(busy).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_key_moves_on_when_its_node_leaves() {
    let world = World::start().await;
    let (client, owner, other) = two_nodes(&world, "k").await;
    let gate = Gate::closed();
    let busy = tokio::spawn(place::call(&client, gate.key).on(owner.id()));
    until(|| owner.stats().in_flight == 1).await;
    let waiting = tokio::spawn(place::call(&client, OPEN).key("k"));
    until(|| world.gateway.stats().waiting == 1).await;
    let drain = tokio::spawn(async move { owner.drain(Duration::from_secs(60)).await });
    assert_eq!(soon(waiting).await.unwrap().unwrap(), other.id());
    gate.open();
    soon(busy).await.unwrap().unwrap();
    assert!(soon(drain).await.unwrap().is_empty());
}

/// What has run: for each test, identity and key, the argument of each run.
type RunLog = HashMap<(u64, String, String), Vec<u32>>;

static LOG: LazyLock<Mutex<RunLog>> = LazyLock::new(Mutex::default);

/// Notes that it runs, and takes a number of turns.
#[remote]
async fn note(#[ctx] ctx: &Context, test: u64, key: String, argument: u32, turns: u32) -> u32 {
    let who = (test, ctx.caller().identity.clone(), key);
    LOG.lock().unwrap().entry(who).or_default().push(argument);
    for _ in 0..turns {
        yield_now().await;
    }
    argument
}

/// A node at two gateways, with clients of two identities at the first and of one at the second.
struct Crowd {
    _gateways: [Gateway; 2],
    _states: [tempfile::TempDir; 2],
    _node: Node,
    clients: Vec<(&'static str, Client)>,
}

impl Crowd {
    async fn start() -> Self {
        let states = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let mut gateways = Vec::new();
        for state in &states {
            let mut gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path());
            gateway = gateway.token(Role::Node, "node");
            for identity in ["alice", "bob"] {
                gateway = gateway.token(Role::Client, identity);
            }
            gateways.push(soon(gateway.serve()).await.unwrap());
        }
        let tickets: Vec<_> =
            gateways.iter().map(|it| it.ticket_of(Role::Node, "node").unwrap()).collect();
        let node = Node::builder(tickets).functions(functions![note]).concurrency(5);
        let node = soon(node.serve()).await.unwrap();
        until(|| node.stats().gateways == 2).await;
        let mut clients = Vec::new();
        for (identity, gateway) in [("alice", 0), ("alice", 0), ("alice", 1), ("bob", 0)] {
            let ticket = gateways[gateway].ticket_of(Role::Client, identity).unwrap();
            clients.push((identity, soon(Client::connect(ticket)).await.unwrap()));
        }
        let gateways = gateways.try_into().unwrap();
        Self { _gateways: gateways, _states: states, _node: node, clients }
    }
}

/// Callers of two identities, at two gateways, call with few keys, with equal and with different
/// arguments, and leave at random. Each identity has at most one run for each key, and each caller
/// the answer of that.
async fn whatever_callers_do_a_key_runs_once(seed: u64) {
    let crowd = Crowd::start().await;
    let mut rng = Rng::with_seed(seed);
    let test = seed;
    let mut calls = JoinSet::new();
    for _ in 0..400 {
        let (identity, client) = crowd.clients[rng.usize(..crowd.clients.len())].clone();
        let key = format!("key {}", rng.u8(..24));
        let argument = u32::from(rng.u8(..8) == 0);
        // The same for all calls of a key: arguments are compared.
        let turns = u32::from(key.as_bytes()[key.len() - 1]) * 7;
        let mut call = note::call(&client, test, key.clone(), argument, turns).key(&*key);
        if rng.u8(..5) == 0 {
            call = call.timeout(Duration::from_micros(rng.u64(..4_000)));
        }
        let patience = if rng.bool() { Some(rng.u32(..120)) } else { None };
        calls.spawn(async move {
            let call = std::pin::pin!(call);
            let leaves = async {
                match patience {
                    Some(turns) => {
                        for _ in 0..turns {
                            yield_now().await;
                        }
                    }
                    None => std::future::pending().await,
                }
            };
            let outcome = tokio::select! {
                outcome = call => Some(outcome),
                () = leaves => None,
            };
            (identity, key, argument, outcome)
        });
        for _ in 0..rng.u8(..4) {
            yield_now().await;
        }
    }
    let mut answers = BTreeMap::new();
    while let Some(ended) = soon(calls.join_next()).await {
        let (identity, key, argument, outcome) = ended.unwrap();
        let at = format!("seed {seed}, {identity}, {key}, {argument}: {outcome:?}");
        match outcome {
            Some(Ok(answer)) => {
                assert_eq!(answer, argument, "{at}");
                let first = *answers.entry((identity, key)).or_insert(answer);
                assert_eq!(first, answer, "{at}");
            }
            Some(Err(error)) => match error.kind() {
                ErrorKind::InvalidInput => assert_eq!(error.executed(), Executed::No, "{at}"),
                ErrorKind::Cancelled | ErrorKind::DeadlineExceeded => {
                    assert_ne!(error.executed(), Executed::Yes, "{at}");
                }
                other => panic!("{other:?}: {at}"),
            },
            None => {}
        }
    }
    let log = LOG.lock().unwrap().clone();
    let runs: Vec<_> = log.iter().filter(|((of, ..), _)| *of == test).collect();
    assert!(!runs.is_empty());
    for ((_, identity, key), arguments) in &runs {
        assert_eq!(arguments.len(), 1, "seed {seed}: {identity}, {key} has run {arguments:?}");
    }
    for ((identity, key), answer) in answers {
        let run = &log[&(test, identity.to_owned(), key.clone())];
        assert_eq!(run, &[answer], "seed {seed}: {identity}, {key}");
    }
}

#[tokio::test]
async fn whatever_callers_do_a_key_runs_once_on_one_thread() {
    for _ in 0..3 {
        whatever_callers_do_a_key_runs_once(fastrand::u64(..)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_callers_do_a_key_runs_once_on_several_threads() {
    for _ in 0..3 {
        whatever_callers_do_a_key_runs_once(fastrand::u64(..)).await;
    }
}

#[tokio::test]
async fn identities_do_not_share_keys() {
    let crowd = Crowd::start().await;
    let test = fastrand::u64(..);
    for (identity, client) in &crowd.clients {
        let argument = u32::from(*identity == "bob");
        let call = note::call(client, test, "k".to_owned(), argument, 1).key("k");
        assert_eq!(soon(call).await.unwrap(), argument);
    }
    let log = LOG.lock().unwrap();
    for (identity, argument) in [("alice", 0), ("bob", 1)] {
        assert_eq!(log[&(test, identity.to_owned(), "k".to_owned())], [argument]);
    }
}
