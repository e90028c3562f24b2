//! What a stream holds is dropped when the stream is over, and not before, on both sides and for
//! every kind of function, whatever ended it.

mod kinds;

use std::future::pending;
use std::time::{Duration, Instant};

use common::process::Process;
use common::{Probe, World, found_in, soon, until};
use easyremote::{Client, ErrorKind, Node, Options};
use futures::{StreamExt, stream};

use crate::kinds::{Items, Kind, Plan, Script, Seen, begin, numbers};

const ADDRESS: &str = "RESOURCES_TEST_ADDRESS";
const STATE: &str = "RESOURCES_TEST_STATE";
const KEYS: &str = "RESOURCES_TEST_KEYS";

const KINDS: [Kind; 7] = [
    Kind::Iterator,
    Kind::IteratorAfterSetUp,
    Kind::Stream,
    Kind::StreamAfterSetUp,
    Kind::Generator,
    Kind::Duplex,
    Kind::Upload,
];

/// Every kind in every state in which it can be interrupted.
const RUNNING: [(Kind, Plan); 15] = [
    (Kind::Iterator, Plan::Endless),
    (Kind::IteratorAfterSetUp, Plan::StuckInSetUp),
    (Kind::IteratorAfterSetUp, Plan::Endless),
    (Kind::Stream, Plan::Silent),
    (Kind::Stream, Plan::Endless),
    (Kind::StreamAfterSetUp, Plan::StuckInSetUp),
    (Kind::StreamAfterSetUp, Plan::Silent),
    (Kind::StreamAfterSetUp, Plan::Endless),
    (Kind::Generator, Plan::Silent),
    (Kind::Generator, Plan::Endless),
    (Kind::Duplex, Plan::Silent),
    (Kind::Duplex, Plan::Endless),
    (Kind::Upload, Plan::StuckInSetUp),
    (Kind::Upload, Plan::Silent),
    (Kind::Upload, Plan::Endless),
];

/// A call, and what is heard of what both of its sides hold.
struct Run {
    name: String,
    items: Items,
    held: Probe,
    source: Option<Probe>,
}

impl Run {
    fn begin(kind: Kind, plan: Plan, client: &Client) -> Self {
        let (held, source) = (Probe::new(), Probe::new());
        let items = begin(kind, client, Script { key: held.key, plan }, numbers(source.key));
        let source = matches!(kind, Kind::Duplex | Kind::Upload).then_some(source);
        Self { name: format!("{kind:?}, {plan:?}"), items, held, source }
    }

    /// Reads until the function says that it is running.
    async fn until_running(&mut self) {
        let said = loop {
            tokio::select! {
                said = self.held.next() => break said,
                item = self.items.next() => assert!(matches!(item, Some(Ok(_))), "{}: {item:?}", self.name),
            }
        };
        assert_eq!(said, "running", "{}", self.name);
    }

    /// Waits until what the caller's stream holds is dropped, if there is one.
    async fn source_is_dropped(&mut self) {
        if let Some(source) = &mut self.source {
            assert_eq!(source.next().await, "dropped", "{}", self.name);
        }
    }

    /// Everything that is still to come. The call itself is kept.
    async fn rest(&mut self) -> Vec<Result<u64, Seen>> {
        soon(self.items.by_ref().collect()).await
    }
}

/// A call of every kind in every state, all at once.
async fn all_running(client: &Client) -> Vec<Run> {
    let mut runs: Vec<_> =
        RUNNING.iter().map(|(kind, plan)| Run::begin(*kind, *plan, client)).collect();
    for run in &mut runs {
        run.until_running().await;
    }
    for run in &mut runs {
        let said = run.held.so_far().len() + run.source.as_mut().map_or(0, |it| it.so_far().len());
        assert_eq!(said, 0, "{}: dropped too early", run.name);
    }
    runs
}

/// Waits until all functions have dropped what they hold, although nobody reads what they have sent,
/// and sees how their calls end.
async fn all_end(runs: Vec<Run>, kind: ErrorKind) {
    for mut run in runs {
        assert_eq!(run.held.next().await, "dropped", "{}", run.name);
        let rest = run.rest().await;
        let (last, items) = rest.split_last().unwrap();
        assert_eq!(*last, Err(Seen::Remote(kind)), "{}", run.name);
        assert!(items.iter().all(Result::is_ok), "{}: {rest:?}", run.name);
        run.source_is_dropped().await;
    }
}

#[tokio::test]
async fn by_its_own_end() {
    const ENDED: &[&str] = &["ended", "dropped"];
    const DROPPED: &[&str] = &["dropped"];
    let panicked = Err(Seen::Remote(ErrorKind::Panicked));
    let (world, node, client) = World::with(kinds::all()).await;
    for (plan, items, result, said) in [
        (Plan::End, vec![Ok(0), Ok(1), Ok(2)], Ok(3), ENDED),
        (Plan::FailLast, vec![Ok(0), Err(Seen::Bad(1))], Err(Seen::Bad(1)), ENDED),
        // An error in place of an item is no reason to drop anything.
        (Plan::FailAndGoOn, vec![Ok(0), Err(Seen::Bad(1)), Ok(2)], Err(Seen::Bad(1)), ENDED),
        (Plan::RefuseInSetUp, vec![Err(Seen::Refused)], Err(Seen::Bad(0)), DROPPED),
        (Plan::PanicInSetUp, vec![panicked], panicked, DROPPED),
        (Plan::Panic, vec![Ok(0), panicked], panicked, DROPPED),
    ] {
        for kind in KINDS {
            let mut run = Run::begin(kind, plan, &client);
            let expected = if kind == Kind::Upload { vec![result] } else { items.clone() };
            assert_eq!(run.rest().await, expected, "{}", run.name);
            for what in said {
                assert_eq!(run.held.next().await, *what, "{}", run.name);
            }
            run.source_is_dropped().await;
        }
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_consumer_that_drops_it() {
    let (world, node, client) = World::with(kinds::all()).await;
    for mut run in all_running(&client).await {
        drop(std::mem::replace(&mut run.items, stream::empty().boxed()));
        assert_eq!(run.held.next().await, "dropped", "{}", run.name);
        run.source_is_dropped().await;
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_deadline() {
    let (_world, node, client) = World::with(kinds::all()).await;
    // All of them have to run before it comes: how long that takes is for the machine to say.
    let begun = Instant::now();
    drop(all_running(&client).await);
    let limit = Duration::from_secs(2) + 3 * begun.elapsed();
    let hurried = client.with(Options::new().timeout(limit));
    all_end(all_running(&hurried).await, ErrorKind::DeadlineExceeded).await;
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_caller_whose_own_stream_panics() {
    let (world, node, client) = World::with(kinds::all()).await;
    for kind in [Kind::Duplex, Kind::Upload] {
        let mut held = Probe::new();
        let (tell, told) = tokio::sync::oneshot::channel::<()>();
        let broken = stream::iter(0..2).chain(stream::once(async {
            let _ = told.await;
            panic!("as planned, by the caller");
        }));
        let script = Script { key: held.key, plan: Plan::Endless };
        let reading = tokio::spawn(begin(kind, &client, script, broken.boxed()).count());
        assert_eq!(held.next().await, "running", "{kind:?}");
        tell.send(()).unwrap();
        assert!(soon(reading).await.unwrap_err().is_panic());
        assert_eq!(held.next().await, "dropped", "{kind:?}");
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_client_that_is_closed() {
    let (_world, node, client) = World::with(kinds::all()).await;
    let runs = all_running(&client).await;
    soon(client.close()).await;
    all_end(runs, ErrorKind::ConnectionLost).await;
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_node_that_shuts_down() {
    let (world, node, client) = World::with(kinds::all()).await;
    let runs = all_running(&client).await;
    soon(node.shutdown()).await;
    all_end(runs, ErrorKind::NodeLost).await;
    until(|| world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_gateway_that_shuts_down() {
    let (world, node, client) = World::with(kinds::all()).await;
    let runs = all_running(&client).await;
    soon(world.gateway.shutdown()).await;
    all_end(runs, ErrorKind::ConnectionLost).await;
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn by_a_gateway_that_is_killed() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let mut gateway = Process::start("gateway_process", [(STATE, directory)]);
    let address = gateway.line("listening ");
    let node = Node::builder(&*address).dial(found_in(directory)).functions(kinds::all()).serve();
    let node = soon(node).await.unwrap();
    let client =
        soon(Client::builder(&*address).dial(found_in(directory)).connect()).await.unwrap();
    let runs = all_running(&client).await;
    gateway.kill();
    all_end(runs, ErrorKind::ConnectionLost).await;
    until(|| node.stats().in_flight == 0).await;
}

/// The gateway of [`by_a_gateway_that_is_killed`]; among the tests it does nothing.
#[tokio::test]
async fn gateway_process() {
    let (Ok(state), Err(_)) = (std::env::var(STATE), std::env::var(KEYS)) else { return };
    let gateway = common::gateway_at("127.0.0.1:0").state_dir(state).serve().await.unwrap();
    println!("\nlistening {}", gateway.local_addr());
    pending().await
}

#[tokio::test]
async fn by_a_client_that_is_killed() {
    let world = World::start().await;
    let node = world.node(kinds::all()).await;
    let mut probes: Vec<_> = RUNNING.iter().map(|_| Probe::new()).collect();
    let keys: Vec<_> = probes.iter().map(|probe| probe.key.to_string()).collect();
    let address = world.gateway.local_addr().to_string();
    let directory = world.state_dir().to_str().unwrap();
    let environment = [(ADDRESS, &*address), (STATE, directory), (KEYS, &keys.join(","))];
    let mut client = Process::start("client_process", environment);
    for probe in &mut probes {
        assert_eq!(probe.next().await, "running");
    }
    assert!(probes.iter_mut().all(|probe| probe.so_far().is_empty()), "dropped too early");
    client.kill();
    for (probe, run) in probes.iter_mut().zip(RUNNING) {
        assert_eq!(probe.next().await, "dropped", "{run:?}");
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

/// The client of [`by_a_client_that_is_killed`]; among the tests it does nothing.
#[tokio::test]
async fn client_process() {
    let Ok(keys) = std::env::var(KEYS) else { return };
    let (address, state) = (std::env::var(ADDRESS).unwrap(), std::env::var(STATE).unwrap());
    let client = Client::builder(address).dial(found_in(state)).connect().await.unwrap();
    let keys = keys.split(',').map(|key| key.parse().unwrap());
    let calls = keys.zip(RUNNING).map(async |(key, (kind, plan))| {
        let mut items = begin(kind, &client, Script { key, plan }, numbers(u64::MAX));
        // Enough for all of them to run; those that have more to send then have to wait.
        items.next().await;
        items.next().await;
        pending::<()>().await;
    });
    futures::future::join_all(calls).await;
}
