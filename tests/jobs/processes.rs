//! A job whose client's process is killed, and its gateway's too.

use std::time::Duration;

use common::process::{Process, question, tell};
use common::{found_in, soon};
use easyremote::client::{Job, JobId, JobState};
use easyremote::{Client, Context, Node, functions, remote};
use tempfile::TempDir;
use tokio::time::sleep;

const ROLE: &str = "JOBS_ROLE";
const ADDRESS: &str = "JOBS_ADDRESS";
const STATE: &str = "JOBS_STATE";

/// Takes as many tenths of a second.
#[remote]
async fn train(#[ctx] ctx: &Context, tenths: u32) -> u32 {
    for tenth in 0..tenths {
        ctx.progress(f64::from(tenth) / f64::from(tenths), format!("step {tenth}"));
        sleep(Duration::from_millis(100)).await;
    }
    tenths
}

fn start(role: &str, address: &str, state: &TempDir) -> Process {
    let state = state.path().to_str().unwrap();
    let environment = [(ROLE, role), (ADDRESS, address), (STATE, state)];
    Process::start(&format!("processes::{role}_process"), environment)
}

fn part(role: &str) -> Option<(String, String)> {
    let var = |name| std::env::var(name).ok();
    if var(ROLE)? == role { var(ADDRESS).zip(var(STATE)) } else { None }
}

/// Not a test: the gateway's process.
#[tokio::test]
async fn gateway_process() {
    let Some((address, state)) = part("gateway") else { return };
    let gateway = common::gateway_at(address).state_dir(state).serve().await.unwrap();
    tell(format_args!("ready {}", gateway.local_addr()));
    while question().await.is_some() {}
}

/// Not a test: the process of the node.
#[tokio::test]
async fn node_process() {
    let Some((address, state)) = part("node") else { return };
    let node = Node::builder(address).dial(found_in(state)).functions(functions![train]);
    let node = node.serve().await.unwrap();
    tell("ready ");
    question().await;
    let lost = node.drain(Duration::from_secs(60)).await;
    tell(format_args!("lost {}", lost.len()));
    std::process::exit(0);
}

/// Not a test: the process of a client that spawns a job.
#[tokio::test]
async fn client_process() {
    let Some((address, state)) = part("client") else { return };
    let client = Client::builder(address).dial(found_in(state)).connect().await.unwrap();
    let job = train::call(&client, 60).spawn().await.unwrap();
    tell(format_args!("job {}", job.id()));
    let _ = job.result().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_seconds_survives_its_clients_process_and_its_gateways() {
    let state = tempfile::tempdir().unwrap();
    let mut gateway = start("gateway", "127.0.0.1:0", &state);
    let address = gateway.line("ready ");
    let mut node = start("node", &address, &state);
    node.line("ready ");
    let mut spawner = start("client", &address, &state);
    let id: JobId = spawner.line("job ").parse().unwrap();
    drop(spawner);
    drop(gateway);
    let mut gateway = start("gateway", &address, &state);
    gateway.line("ready ");

    let client = Client::builder(&*address).dial(found_in(state.path())).connect();
    let client = soon(client).await.unwrap();
    let job: Job<train> = client.job(&id);
    // The node may take a moment to come back.
    let status = soon(async {
        loop {
            match job.status().await {
                Ok(status) => return status,
                Err(error) => assert_eq!(error.kind(), easyremote::ErrorKind::NoNode, "{error}"),
            }
        }
    })
    .await;
    assert_eq!(status.state, JobState::Running);
    let before = status.progress.unwrap().fraction;
    assert!((0.0..1.0).contains(&before), "{before}");
    // Drains from now on, and waits until the result is collected.
    node.tell("drain");
    assert_eq!(soon(job.result()).await.unwrap(), 60);
    assert_eq!(node.line("lost "), "0");
}
