//! Promises that take real processes, and some time, to show: planned restarts under load, many
//! streams that are dropped or not read, streams and jobs that outlive what is killed around them,
//! readers that follow only the newest item, and functions that block their runtime.

mod blocked;
mod jobs;
mod latest;
mod parts;
mod restarts;
mod resumable;
mod streams;

#[tokio::test]
async fn gateway_process() {
    parts::be_gateway().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_process() {
    parts::be_node().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_process() {
    streams::be_client().await;
}
