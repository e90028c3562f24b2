//! A job outlives the process of its client and that of its gateway; a node that drains waits for it.

use common::{soon, until};
use easyremote::client::{Job, JobId, JobStatus};
use easyremote::{Client, ErrorKind, Executed};

use crate::parts::{Parts, double, train};
use crate::restarts::is_long;

/// Asks how far the job is until it says so, and that is further than `before`. The node may take a
/// moment to come back.
async fn fraction_above(job: &Job<train>, before: f64) -> f64 {
    soon(async {
        loop {
            match job.status().await {
                Ok(JobStatus { state, progress, .. }) => {
                    assert!(!state.is_ended(), "{state:?}");
                    if let Some(progress) = progress
                        && progress.fraction > before
                    {
                        return progress.fraction;
                    }
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::NoNode, "{error}"),
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_outlives_its_client_and_its_gateway_and_its_node_waits_for_it() {
    let (tenths, spawn) = if is_long() { (300, "spawn 300") } else { (10, "spawn 10") };
    let mut parts = Parts::start();
    let mut node = parts.process("node", "a");
    let mut spawner = parts.process("client", "");
    spawner.tell(spawn);
    let id: JobId = spawner.line("job ").parse().unwrap();
    spawner.kill();
    parts.kill_gateway();

    let client = parts.client().await;
    let job: Job<train> = client.job(&id);
    let first = fraction_above(&job, -1.0).await;
    let listed = soon(client.jobs()).await.unwrap();
    assert_eq!(listed.iter().map(|info| &info.id).collect::<Vec<_>>(), [&id]);
    fraction_above(&job, first).await;

    let stranger = soon(Client::connect(parts.ticket_of_a_stranger())).await.unwrap();
    let theirs: Job<train> = stranger.job(&id);
    for error in [
        soon(theirs.status()).await.unwrap_err(),
        soon(theirs.cancel()).await.unwrap_err(),
        soon(theirs.result()).await.unwrap_err(),
    ] {
        let (kind, executed) = (error.kind(), error.executed());
        assert_eq!((kind, executed), (ErrorKind::NoSuchJob, Executed::Maybe), "{error}");
    }
    assert!(soon(stranger.jobs()).await.unwrap().is_empty());

    node.signal("TERM");
    // Until it drains.
    soon(async { while double::call(&client, 1).await.is_ok() {} }).await;
    parts.end_jobs();
    assert_eq!(soon(job.result()).await.unwrap(), (tenths, 0), "and how often it ran before");
    until(|| node.has_ended()).await;
    assert_eq!(node.exit_code(), Some(0));
}
