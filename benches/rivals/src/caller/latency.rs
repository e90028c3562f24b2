//! One call after the other: alone, and beside bulk on the same connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Notify;

use crate::rival::{Caller, Wanted};

pub async fn alone(caller: &impl Caller, during: Duration) -> Result<String> {
    let mut times = times(caller, during).await?;
    Ok(format!("{} {}", percentile(&mut times, 50)?, percentile(&mut times, 99)?))
}

async fn times(caller: &impl Caller, during: Duration) -> Result<Vec<Duration>> {
    let bytes = Bytes::from(vec![7; 64]);
    let end = Instant::now() + during;
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        caller.echo(bytes.clone()).await?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

/// What else is on the connection, without a pause; the number is bytes.
#[derive(Clone, Copy, Debug)]
pub enum Bulk {
    /// Items of a stream.
    Items(u64),
    /// Calls, one after the other.
    Calls(u64),
}

pub async fn beside<C: Caller>(caller: &C, during: Duration, bulk: Bulk) -> Result<String> {
    let moved = Arc::new(Moved::default());
    let task = tokio::spawn(keep_busy(caller.clone(), bulk, moved.clone()));
    let measured = async {
        moved.begun.notified().await;
        let (begun, before) = (Instant::now(), moved.bytes.load(Ordering::Relaxed));
        let mut times = times(caller, during).await?;
        let bytes = moved.bytes.load(Ordering::Relaxed) - before;
        let rate = bytes as f64 / begun.elapsed().as_secs_f64();
        Ok(format!("{} {rate}", percentile(&mut times, 99)?))
    };
    let stop = task.abort_handle();
    let measured = tokio::select! {
        measured = measured => measured,
        ended = task => match ended? {
            Ok(()) => bail!("what is to be beside the calls has ended"),
            Err(error) => Err(error),
        },
    };
    stop.abort();
    measured
}

/// What has been received.
#[derive(Debug, Default)]
struct Moved {
    begun: Notify,
    bytes: AtomicU64,
}

async fn keep_busy(caller: impl Caller, bulk: Bulk, moved: Arc<Moved>) -> Result<()> {
    let add = |length: usize| {
        moved.bytes.fetch_add(length as u64, Ordering::Relaxed);
        moved.begun.notify_one();
    };
    match bulk {
        Bulk::Items(length) => {
            // More than are taken while it is measured.
            let mut items =
                caller.items(Wanted { n: u64::from(u32::MAX), length, stays: false }).boxed();
            while let Some(item) = items.next().await {
                add(item?.len());
            }
            Ok(())
        }
        Bulk::Calls(length) => {
            let bytes = Bytes::from(vec![7; length as usize]);
            loop {
                add(caller.echo(bytes.clone()).await?.len());
            }
        }
    }
}

/// In microseconds.
pub fn percentile(times: &mut [Duration], percent: usize) -> Result<String> {
    ensure!(!times.is_empty(), "nothing was measured");
    times.sort_unstable();
    Ok((times[times.len() * percent / 100].as_secs_f64() * 1e6).to_string())
}
