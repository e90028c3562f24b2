//! A handle that is dropped tells its peers at once, whatever runtime and process it was in.

use std::future::Future;
use std::time::{Duration, Instant};

use common::offered::add;
use common::process::{Process, tell};
use common::{World, found_in, soon, until};
use easyremote::{Client, Error, ErrorKind, Node, functions, remote};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

#[remote]
async fn wait() {
    std::future::pending::<()>().await;
}

/// A peer that says nothing is missed after 8 s; what is known in half of that was said.
const AT_ONCE: Duration = Duration::from_secs(4);

/// What a drop takes is microseconds; waiting for QUIC to be done takes 80 ms.
const QUICK: Duration = Duration::from_millis(25);

const ROUNDS: usize = 15;

fn runtimes() -> [Runtime; 2] {
    [Builder::new_current_thread(), Builder::new_multi_thread()]
        .map(|mut builder| builder.enable_all().build().unwrap())
}

async fn at_once(condition: impl FnMut() -> bool) {
    timeout(AT_ONCE, until(condition)).await.expect("nothing was said");
}

fn timed(drop: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    drop();
    begun.elapsed()
}

/// Half of the drops are quick: the other half may have been unlucky with the processors.
async fn quick<F: Future<Output = Duration>>(mut round: impl FnMut() -> F) {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(round().await);
    }
    times.sort();
    assert!(times[ROUNDS / 2] < QUICK, "{times:?}");
}

#[test]
fn a_client_that_is_dropped_leaves_at_once_and_holds_nobody_up() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let world = World::start().await;
            let _node = world.node(functions![add, wait]).await;
            quick(|| async {
                let client = world.client().await;
                assert_eq!(soon(add::call(&client, 1, 2)).await.unwrap(), 3);
                let call = wait::call(&client);
                let time = timed(|| drop((call, client.clone(), client)));
                at_once(|| world.gateway.stats().clients == 0).await;
                time
            })
            .await;
            // In a task, wherever that runs.
            quick(|| async {
                let client = world.client().await;
                let time = tokio::spawn(async { timed(|| drop(client)) }).await.unwrap();
                at_once(|| world.gateway.stats().clients == 0).await;
                time
            })
            .await;
        });
    }
}

#[test]
fn a_node_that_is_dropped_leaves_at_once_and_holds_nobody_up() {
    for runtime in runtimes() {
        runtime.block_on(async {
            let world = World::start().await;
            let client = world.client().await;
            quick(|| async {
                let node = world.node(functions![add, wait]).await;
                let id = node.id().to_owned();
                let call = tokio::spawn(wait::call(&client));
                until(|| node.stats().in_flight == 1).await;
                let time = timed(|| drop(node));
                let error = timeout(AT_ONCE, call).await.unwrap().unwrap().unwrap_err();
                assert_eq!((error.kind(), error.node()), (ErrorKind::NodeLost, Some(&*id)));
                at_once(|| world.gateway.stats().nodes == 0).await;
                time
            })
            .await;
        });
    }
}

#[test]
fn a_gateway_that_is_dropped_tells_all_its_peers_and_holds_nobody_up() {
    for runtime in runtimes() {
        runtime.block_on(async {
            quick(|| async {
                let world = World::start().await;
                let node = world.node(functions![add]).await;
                let mut clients = Vec::new();
                for _ in 0..5 {
                    clients.push(world.client().await);
                }
                let time = timed(|| drop(world));
                at_once(|| clients.iter().all(|client| !client.stats().connected)).await;
                at_once(|| node.stats().gateways == 0).await;
                time
            })
            .await;
        });
    }
}

#[tokio::test]
async fn a_closed_client_has_told_its_gateway() {
    let world = World::start().await;
    for _ in 0..ROUNDS {
        let client = world.client().await;
        soon(client.close()).await;
        at_once(|| world.gateway.stats().clients == 0).await;
    }
}

/// The thread ends in the background, and its socket with it.
#[tokio::test]
async fn a_gateway_that_was_shut_down_has_left_its_port() {
    let state = tempfile::tempdir().unwrap();
    let mut address = "127.0.0.1:0".to_owned();
    for _ in 0..5 {
        let gateway =
            soon(common::gateway_at(&address).state_dir(state.path()).serve()).await.unwrap();
        address = gateway.local_addr().to_string();
        soon(gateway.shutdown()).await;
    }
}

const PART: &str = "GOODBYE_TEST_PART";
const ADDRESS: &str = "GOODBYE_TEST_ADDRESS";
const STATE: &str = "GOODBYE_TEST_STATE";

/// A program that ends with its last call, or when it is told to; among the tests it does nothing.
#[tokio::test]
async fn program() {
    let Ok(part) = std::env::var(PART) else { return };
    let (address, state) = (std::env::var(ADDRESS).unwrap(), std::env::var(STATE).unwrap());
    ends_itself(&part, &address, &state).await.unwrap();
    std::process::exit(0);
}

async fn ends_itself(part: &str, address: &str, state: &str) -> Result<(), Error> {
    match part {
        "client" => {
            let client = Client::builder(address).dial(found_in(state)).connect().await?;
            add::call(&client, 1, 2).await?;
        }
        "node" => {
            let node = Node::builder(address).dial(found_in(state)).functions(functions![add]);
            let _node = node.serve().await?;
            tell("there");
            common::process::question().await;
        }
        _ => {
            let gateway = common::gateway_at(address).state_dir(state).serve().await?;
            tell(format!("there {}", gateway.local_addr()));
            common::process::question().await;
        }
    }
    Ok(())
}

fn start(part: &str, address: &str, state: &std::path::Path) -> Process {
    let state = state.to_str().unwrap();
    Process::start("goodbye::program", [(PART, part), (ADDRESS, address), (STATE, state)])
}

#[tokio::test]
async fn a_program_that_ends_with_its_last_call_has_said_goodbye() {
    let world = World::start().await;
    let address = world.gateway.local_addr().to_string();
    let node = world.node(functions![add]).await;
    for calls in 1..=10 {
        let mut program = start("client", &address, world.state_dir());
        until(|| program.has_ended()).await;
        assert_eq!((program.exit_code(), node.stats().calls), (Some(0), calls));
        at_once(|| world.gateway.stats().clients == 0).await;
    }
    drop(node);
    at_once(|| world.gateway.stats().nodes == 0).await;
    for _ in 0..5 {
        let mut program = start("node", &address, world.state_dir());
        program.line("there");
        assert_eq!(world.gateway.stats().nodes, 1);
        program.tell("end");
        until(|| program.has_ended()).await;
        at_once(|| world.gateway.stats().nodes == 0).await;
    }
}

#[tokio::test]
async fn a_gateways_program_that_ends_has_told_its_peers() {
    let state = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let mut program = start("gateway", "127.0.0.1:0", state.path());
        let address = program.line("there ");
        let client = Client::builder(&*address).dial(found_in(state.path())).connect();
        let client = soon(client).await.unwrap();
        program.tell("end");
        until(|| program.has_ended()).await;
        at_once(|| !client.stats().connected).await;
    }
}
