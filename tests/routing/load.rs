//! How busy a node is, as it tells its gateways.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use common::{World, found_in, soon, until};
use easyremote::client::NodeInfo;
use easyremote::client::NodeLoad;
use easyremote::node::NodeLimits;
use easyremote::{Client, Node, functions, remote};

static OPEN: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

/// Ends when the door is open.
#[remote]
fn wait_at_the_door() {
    let (open, opened) = &OPEN;
    // Not for ever: the runtime of a test that has failed waits for its threads.
    let open = open.lock().unwrap();
    drop(opened.wait_timeout_while(open, Duration::from_secs(90), |open| !*open).unwrap());
}

#[remote]
fn nothing() {}

/// The load of the only node.
fn load(nodes: &[NodeInfo]) -> Option<NodeLoad> {
    let [node] = nodes else { panic!("one node: {nodes:?}") };
    node.load
}

#[tokio::test]
async fn a_node_tells_what_it_runs_and_what_waits() {
    let world = World::start().await;
    let node = world
        .node_builder()
        .limits(NodeLimits::new().blocking_threads(1))
        .functions(functions![wait_at_the_door]);
    let node = soon(node.serve()).await.unwrap();
    let client = world.client().await;
    let calls: Vec<_> =
        (0..3).map(|_| tokio::spawn(wait_at_the_door::call(&client).into_future())).collect();
    let said = |in_flight, waiting| {
        let load = load(&world.gateway.nodes());
        load.is_some_and(|load| (load.in_flight, load.waiting) == (in_flight, waiting))
    };
    until(|| said(3, 2)).await;
    assert_eq!((node.stats().in_flight, node.stats().waiting), (3, 2));
    let by_client = load(&soon(client.nodes()).await.unwrap()).unwrap();
    assert_eq!((by_client.in_flight, by_client.waiting), (3, 2));
    *OPEN.0.lock().unwrap() = true;
    OPEN.1.notify_all();
    for call in calls {
        soon(call).await.unwrap().unwrap();
    }
    until(|| said(0, 0)).await;
}

/// On the systems that the tests run on, that is; on others a node says what it knows.
#[cfg(any(target_os = "linux", target_os = "macos", target_os = "windows"))]
#[tokio::test]
async fn a_node_tells_how_busy_its_machine_is() {
    let (world, _node, _client) = World::with(functions![nothing]).await;
    until(|| load(&world.gateway.nodes()).is_some_and(|load| load.cpu_percent.is_some())).await;
    let load = load(&world.gateway.nodes()).unwrap();
    assert!(load.cpu_percent.unwrap() <= 100, "{load:?}");
    let memory = load.memory.unwrap();
    assert!(memory.used > 0 && memory.used < memory.total, "{load:?}");
}

#[tokio::test]
async fn every_gateway_hears_it_and_a_new_one_soon() {
    let (one, two) = (World::start().await, World::start().await);
    let tickets = [&one, &two].map(|world| world.gateway.ticket(easyremote::Role::Node));
    let _node = soon(Node::serve(tickets, functions![nothing])).await.unwrap();
    for world in [&one, &two] {
        until(|| load(&world.gateway.nodes()).is_some()).await;
    }
    let address = two.gateway.local_addr();
    soon(two.gateway.shutdown()).await;
    let again = common::gateway_at(address).state_dir(two.state_dir()).serve();
    let again = soon(again).await.unwrap();
    until(|| !again.nodes().is_empty() && load(&again.nodes()).is_some()).await;
    let client =
        soon(Client::builder(address).dial(found_in(two.state_dir())).connect()).await.unwrap();
    assert!(load(&soon(client.nodes()).await.unwrap()).is_some());
}
