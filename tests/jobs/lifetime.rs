//! How long a job lives: beyond its caller and its gateway, and not beyond its node.

use std::sync::Arc;
use std::time::Duration;

use common::gate::{Gate, pass};
use common::{Probe, SayOnDrop, World, found_in, say, soon, until};
use easyremote::client::{Job, JobId, JobState};
use easyremote::{Client, Context, ErrorKind, Executed, Gateway, Node, Retry, functions, remote};
use tempfile::TempDir;

const GRACE: Duration = Duration::from_secs(60);

#[remote]
async fn wait(key: u64, gate: u64) -> u64 {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    pass(gate).await;
    key
}

#[remote]
fn quick(n: u64) -> u64 {
    2 * n
}

/// Spawns a job, whose id it returns.
#[remote]
async fn spawn_one(#[ctx] ctx: &Context, key: u64, gate: u64) -> Result<JobId, String> {
    let job = wait::call(&ctx.client(), key, gate).spawn().await;
    job.map(|job| job.id().clone()).map_err(|error| error.to_string())
}

/// Waits for a job that it has spawned.
#[remote]
async fn nested(#[ctx] ctx: &Context, key: u64, gate: u64) -> Result<u64, String> {
    let job = wait::call(&ctx.client(), key, gate).spawn().await.map_err(|e| e.to_string())?;
    job.result().await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_job_outlives_its_client_and_is_found_by_another() {
    let (world, node, client) = World::with(functions![wait]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let id = job.id().clone();
    drop((job, client));
    until(|| world.gateway.stats().clients == 0).await;

    let client = world.client().await;
    let listed = soon(client.jobs()).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].id, listed[0].status.state), (&id, JobState::Running));
    let job: Job<wait> = client.job(&id);
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    assert_eq!(node.stats().in_flight, 1);
    gate.open();
    assert_eq!(soon(job.result()).await.unwrap(), probe.key);
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_job_keeps_its_place_until_it_ends() {
    let world = World::start().await;
    let node = world.node_builder().concurrency(1).functions(functions![wait, quick]);
    let _node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let call = tokio::spawn(quick::call(&client, 1));
    until(|| world.gateway.stats().waiting == 1).await;
    // The node is full, and answers what is asked about its job nevertheless.
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    assert_eq!(soon(client.jobs()).await.unwrap().len(), 1);
    assert_eq!(world.gateway.stats().waiting, 1);
    gate.open();
    assert_eq!(soon(call).await.unwrap().unwrap(), 2);
    assert_eq!(soon(job.result()).await.unwrap(), probe.key);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn places_are_free_again_after_many_jobs() {
    let world = World::start().await;
    let node = world.node_builder().concurrency(2).functions(functions![wait, quick]);
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    for round in 0..50 {
        let (one, two) = (quick::call(&client, round).spawn(), quick::call(&client, round).spawn());
        let (one, two) = soon(futures::future::join(one, two)).await;
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(soon(two.result()).await.unwrap(), 2 * round);
        assert_eq!(soon(one.result()).await.unwrap(), 2 * round);
    }
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
    assert_eq!(world.gateway.nodes()[0].in_flight, 0);
}

#[tokio::test]
async fn a_job_inherits_neither_deadline_nor_cancellation() {
    let (_world, _node, client) = World::with(functions![wait, spawn_one, nested]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let call = spawn_one::call(&client, probe.key, gate.key).timeout(Duration::from_secs(20));
    let id = soon(call).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let job: Job<wait> = client.job(&id);
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    gate.open();
    assert_eq!(soon(job.result()).await.unwrap(), probe.key);

    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let outer = tokio::spawn(nested::call(&client, probe.key, gate.key));
    assert_eq!(probe.next().await, "started");
    outer.abort();
    assert!(soon(outer).await.unwrap_err().is_cancelled());
    let listed = soon(client.jobs()).await.unwrap();
    assert_eq!(listed.len(), 2);
    gate.open();
    for info in listed {
        let job: Job<wait> = client.job(&info.id);
        soon(job.result()).await.unwrap();
    }
    assert_eq!(probe.next().await, "dropped");
}

#[tokio::test]
async fn a_node_that_drains_waits_for_its_jobs_and_until_their_results_are_collected() {
    let (world, node, client) = World::with(functions![wait, quick]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let done = soon(quick::call(&client, 4).spawn()).await.unwrap();
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let node = Arc::new(node);
    let drain = tokio::spawn({
        let node = node.clone();
        async move { node.drain(GRACE).await }
    });
    let once = client.with(easyremote::Options::new().retry(Retry::never()));
    soon(async { while quick::call(&once, 1).await.is_ok() {} }).await;
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    gate.open();
    soon(async { while !job.status().await.unwrap().state.is_ended() {} }).await;
    assert_eq!(soon(done.result()).await.unwrap(), 8);
    assert!(!drain.is_finished(), "nobody has had the other result");
    assert_eq!(soon(job.result()).await.unwrap(), probe.key);
    assert!(soon(drain).await.unwrap().is_empty());
    until(|| world.gateway.nodes().is_empty()).await;
    let error = soon(job.with_no_retry(&once).status()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoNode, Executed::Maybe), "{error}");
}

/// The same job, asked for with another handle.
trait WithHandle<F: easyremote::__private::RemoteUnary> {
    fn with_no_retry(&self, client: &Client) -> Job<F>;
}

impl<F: easyremote::__private::RemoteUnary> WithHandle<F> for Job<F> {
    fn with_no_retry(&self, client: &Client) -> Self {
        client.job(self.id())
    }
}

#[tokio::test]
async fn a_drain_says_what_it_has_lost() {
    let (_world, node, client) = World::with(functions![wait, quick]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let done = soon(quick::call(&client, 4).spawn()).await.unwrap();
    let had = soon(quick::call(&client, 5).spawn()).await.unwrap();
    assert_eq!(soon(had.result()).await.unwrap(), 10);
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    soon(async { while !done.status().await.unwrap().state.is_ended() {} }).await;
    let mut lost = soon(node.drain(Duration::from_millis(50))).await;
    assert_eq!(probe.next().await, "dropped");
    lost.sort_by_key(|lost| lost.id.function().to_owned());
    let lost: Vec<_> = lost.iter().map(|lost| (&lost.id, lost.state)).collect();
    assert_eq!(lost, [(done.id(), JobState::Succeeded), (job.id(), JobState::Running)]);
}

#[tokio::test]
async fn a_node_that_shuts_down_cancels_its_jobs() {
    let (world, node, client) = World::with(functions![wait]).await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    soon(node.shutdown()).await;
    assert_eq!(probe.next().await, "dropped");
    // Another process of the same id knows nothing of it.
    let id = node.id().to_owned();
    let node = world.node_builder().id(id).functions(functions![wait]).serve();
    let _node = soon(node).await.unwrap();
    let error = soon(job.result()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::NoSuchJob, Executed::Maybe),
        "{error}"
    );
    assert!(soon(client.jobs()).await.unwrap().is_empty());
}

/// A gateway that can be started again where it was.
struct Place {
    state: TempDir,
    address: std::net::SocketAddr,
}

impl Place {
    async fn start() -> (Self, Gateway) {
        let state = tempfile::tempdir().unwrap();
        let gateway = common::gateway_at("127.0.0.1:0").state_dir(state.path()).serve();
        let gateway = soon(gateway).await.unwrap();
        let address = gateway.local_addr();
        (Self { state, address }, gateway)
    }

    async fn again(&self) -> Gateway {
        let gateway = common::gateway_at(self.address).state_dir(self.state.path()).serve();
        soon(gateway).await.unwrap()
    }

    async fn node(&self) -> Node {
        let node = Node::builder(self.address).dial(found_in(self.state.path()));
        soon(node.functions(functions![wait, quick]).serve()).await.unwrap()
    }

    async fn client(&self) -> Client {
        let client = Client::builder(self.address).dial(found_in(self.state.path()));
        soon(client.connect()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_survives_restarts_of_its_gateway_and_so_does_the_wait_for_it() {
    let (place, mut gateway) = Place::start().await;
    let node = place.node().await;
    let client = place.client().await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let waiting = tokio::spawn({
        let job = job.clone();
        async move { job.result().await }
    });
    for _ in 0..3 {
        soon(gateway.shutdown()).await;
        drop(gateway);
        gateway = place.again().await;
        until(|| node.stats().gateways == 1).await;
        assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    }
    // What calls the node has beside its job, it runs.
    assert_eq!(soon(quick::call(&client, 3)).await.unwrap(), 6);
    gate.open();
    assert_eq!(soon(waiting).await.unwrap().unwrap(), probe.key);
    assert_eq!(probe.next().await, "dropped");
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_gateway_that_drains_does_not_wait_for_jobs_or_those_who_wait_for_them() {
    let (place, gateway) = Place::start().await;
    let node = place.node().await;
    let client = place.client().await;
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let job = soon(wait::call(&client, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let waiting = tokio::spawn({
        let job = job.clone();
        async move { job.result().await }
    });
    // It has begun to wait once the node has the request.
    until(|| node.stats().in_flight == 2).await;
    soon(gateway.drain(Duration::from_secs(3_600))).await;
    drop(gateway);
    let _gateway = place.again().await;
    gate.open();
    assert_eq!(soon(waiting).await.unwrap().unwrap(), probe.key);
}

#[tokio::test]
async fn a_job_is_reached_through_any_gateway_of_its_node() {
    let (one, first) = Place::start().await;
    let (two, second) = Place::start().await;
    let tickets = [
        first.ticket(easyremote::Role::Node).to_string(),
        second.ticket(easyremote::Role::Node).to_string(),
    ];
    let node = Node::builder(tickets).functions(functions![wait, quick]);
    let node = soon(node.serve()).await.unwrap();
    until(|| node.stats().gateways == 2).await;
    let (here, there) = (one.client().await, two.client().await);
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let job = soon(wait::call(&here, probe.key, gate.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    soon(first.shutdown()).await;
    let job: Job<wait> = there.job(job.id());
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    gate.open();
    assert_eq!(soon(job.result()).await.unwrap(), probe.key);
    assert_eq!(soon(quick::call(&there, 3)).await.unwrap(), 6);
}
