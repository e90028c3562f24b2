//! `easyremote jobs`, and `call --job`.

use std::sync::LazyLock;
use std::time::Duration;

use common::soon;
use easyremote::{Context, functions, remote};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::tool::Rig;

static MAY_END: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(0));

/// Says how far it is, and ends when the test lets it.
#[remote]
async fn train(#[ctx] ctx: &Context, epochs: u32) -> u32 {
    ctx.progress(0.25, "epoch 1");
    MAY_END.acquire().await.unwrap().forget();
    epochs
}

#[remote]
async fn endless() {
    std::future::pending::<()>().await;
}

#[remote]
fn fails() -> Result<u32, String> {
    Err("no luck".to_owned())
}

/// Asks until a job is in this state.
async fn until_state(rig: &Rig, id: &str, state: &str) -> Value {
    soon(async {
        loop {
            let status = rig.run(&["--json", "jobs", "status", id]).await.json();
            if status["state"] == json!(state) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_outlives_the_call_that_spawned_it() {
    let rig = Rig::with(functions![train]).await;
    let spawned = rig.run(&["call", "train", "7", "--job"]).await;
    assert_eq!(spawned.code, Some(0), "{spawned:?}");
    let id = spawned.out.trim();
    assert!(id.ends_with(":train@node-1"), "{id}");
    let status = until_state(&rig, id, "Running").await;
    assert_eq!((&status["id"], &status["function"]), (&json!(id), &json!("train")));
    let list = rig.run(&["--json", "jobs"]).await.json();
    assert_eq!(list["jobs"][0]["id"], json!(id));
    let table = rig.run(&["jobs", "list"]).await.out;
    assert!(
        table.starts_with("JOB") && table.contains(id) && table.contains("25 % epoch 1"),
        "{table}"
    );
    MAY_END.add_permits(1);
    let result = rig.run(&["jobs", "result", id]).await;
    assert_eq!((result.code, &*result.out, &*result.err), (Some(0), "7\n", ""));
    until_state(&rig, id, "Succeeded").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled_by_its_id() {
    let rig = Rig::with(functions![endless]).await;
    let spawned = rig.run(&["--json", "call", "endless", "--job"]).await.json();
    let id = spawned["job"].as_str().unwrap();
    until_state(&rig, id, "Running").await;
    assert_eq!(rig.run(&["jobs", "cancel", id]).await.code, Some(0));
    until_state(&rig, id, "Failed").await;
    let result = rig.run(&["--json", "jobs", "result", id]).await;
    let error = result.error();
    assert_eq!(error["kind"], json!("Cancelled"));
    let maybe = error["executed"] == json!("Maybe");
    assert_eq!(result.code, Some(if maybe { 7 } else { 1 }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_of_a_job_and_a_job_that_is_none() {
    let rig = Rig::with(functions![fails]).await;
    let id = rig.run(&["call", "fails", "--job"]).await.out.trim().to_owned();
    let result = rig.run(&["--json", "jobs", "result", &id]).await;
    assert_eq!((result.code, &result.error()["error"]), (Some(1), &json!("no luck")));
    let other = format!("{}:fails@node-1", "0".repeat(32));
    let none = rig.run(&["--json", "jobs", "status", &other]).await;
    assert_eq!((none.code, &none.error()["kind"]), (Some(5), &json!("NoSuchJob")));
    assert_eq!(rig.run(&["jobs", "status", "no-id"]).await.code, Some(2));
}
