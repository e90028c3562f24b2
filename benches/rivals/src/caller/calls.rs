//! Many calls at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;

use crate::rival::{Caller, Function};

/// A task for each of these, with one call after the other.
pub async fn during(
    callers: Vec<impl Caller>,
    function: Function,
    during: Duration,
    length: usize,
) -> Result<String> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in callers {
        let (stop, done) = (stop.clone(), done.clone());
        let bytes = Bytes::from(vec![7; length]);
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = match function {
                    Function::Async => caller.echo(bytes.clone()).await?,
                    other => caller.echo_by(other, bytes.clone()).await?,
                };
                ensure!(answer.len() == length, "the answer has another length");
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(during).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(format!("{} {}", done.load(Ordering::Relaxed), begun.elapsed().as_secs_f64()))
}
