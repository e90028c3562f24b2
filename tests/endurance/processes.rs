//! Node processes that are killed, and such that stop for a time.

use common::process::{Process, question, tell};
use common::{World, found_in, soon, until};
use easyremote::{Client, Error, ErrorKind, Executed, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::task::JoinHandle;

use crate::path::Bystander;

const ADDRESS: &str = "FAULTS_TEST_ADDRESS";
const STATE: &str = "FAULTS_TEST_STATE";

/// Tells the parent of its process when it is dropped.
struct TellOnDrop(&'static str);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        tell(self.0);
    }
}

#[remote]
async fn run() {
    let _guard = TellOnDrop("dropped run");
    tell("running");
    std::future::pending::<()>().await;
}

#[remote(stream)]
fn three() -> impl Stream<Item = u64> {
    let guard = TellOnDrop("dropped three");
    stream::iter(0..3).chain(stream::pending()).inspect(move |_| {
        let _keep = &guard;
    })
}

#[remote]
async fn process_id() -> u32 {
    std::process::id()
}

/// The node's process; among the tests it does nothing.
#[tokio::test]
async fn node_process() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let node = Node::builder(address).dial(found_in(std::env::var(STATE).unwrap())).id("a");
    // Room for the call and the stream, so that the next call waits at the gateway.
    let node = node.concurrency(2).functions(functions![run, three, process_id]);
    let _node = node.serve().await.unwrap();
    tell("registered");
    while question().await.is_some() {}
}

fn start(world: &World) -> Process {
    let address = world.gateway.local_addr().to_string();
    let state = world.state_dir().to_str().unwrap();
    let environment = [(ADDRESS, &*address), (STATE, state)];
    let mut process = Process::start("processes::node_process", environment);
    process.line("registered");
    process
}

/// A node process that has all the work it takes, and what becomes of that.
struct Lost {
    world: World,
    process: Process,
    client: Client,
    bystander: Bystander,
    /// Waits for a node, whichever it is.
    patient: JoinHandle<Result<u32, Error>>,
}

/// Makes a node busy, does something bad to it, and sees that everybody who waits for it is told.
async fn lose(fault: impl FnOnce(&mut Process)) -> Lost {
    let world = World::start().await;
    let mut process = start(&world);
    let client = world.client().await;
    let running = tokio::spawn(run::call(&client));
    process.line("running");
    let mut items = three::call(&client);
    for n in 0..3 {
        assert_eq!(soon(items.next()).await.unwrap().unwrap(), n);
    }
    let waiting = tokio::spawn(process_id::call(&client));
    let patient = tokio::spawn(process_id::call(&client).wait_for_node());
    until(|| world.gateway.stats().waiting == 2).await;

    let bystander = Bystander::start(&world).await;
    fault(&mut process);
    let ends = async { tokio::join!(running, items.next(), waiting) };
    let (running, item, waiting) = bystander.noticed(ends).await;
    let error = running.unwrap().unwrap_err();
    let seen = (error.kind(), error.executed(), error.node());
    assert_eq!(seen, (ErrorKind::NodeLost, Executed::Maybe, Some("a")), "{error}");
    let error = item.unwrap().unwrap_err();
    let seen = (error.kind(), error.executed(), error.node());
    assert_eq!(seen, (ErrorKind::NodeLost, Executed::Yes, Some("a")), "{error}");
    assert_eq!(error.delivered(), 3);
    assert!(soon(items.next()).await.is_none());
    let error = waiting.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::No), "{error}");
    assert!(!patient.is_finished());
    Lost { world, process, client, bystander, patient }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_is_given_up_and_replaced() {
    let Lost { world, client, bystander, patient, .. } = lose(Process::kill).await;
    let next = start(&world);
    assert_eq!(bystander.healed(patient).await.unwrap().unwrap(), next.id());
    assert_eq!(soon(process_id::call(&client)).await.unwrap(), next.id());
    bystander.has_seen_nothing().await;
    until(|| world.gateway.stats().in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_is_given_up_and_comes_back_without_its_calls() {
    let stop = |process: &mut Process| process.signal("STOP");
    let Lost { world, mut process, client, bystander, patient } = lose(stop).await;
    process.signal("CONT");
    assert_eq!(bystander.healed(patient).await.unwrap().unwrap(), process.id());
    let mut dropped = [process.line("dropped "), process.line("dropped ")];
    dropped.sort();
    assert_eq!(dropped, ["run", "three"]);
    assert_eq!(soon(process_id::call(&client)).await.unwrap(), process.id());
    bystander.has_seen_nothing().await;
    until(|| world.gateway.stats().in_flight == 0).await;
}
