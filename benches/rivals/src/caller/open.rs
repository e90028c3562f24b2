//! Calls that begin when they are due, whether or not those before them have ended: an open loop.
//!
//! Times count from when a call was due, so that a party that holds up the calls behind a slow one
//! pays for all of them. Tokio's own timer has steps of a millisecond, so a thread of its own keeps the
//! time: it sleeps up to each call, without the slack of 50 us that Linux would add, and spawns a task
//! for it on the runtime. It does not spin, which would take a processor from those who are measured.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{Sender, channel};

use super::latency::percentile;
use crate::rival::Caller;

/// Everybody gets the same calls at the same times.
const SEED: u64 = 14;

pub async fn calls(caller: &impl Caller, during: Duration, rate: u64) -> Result<String> {
    let due = due(during, rate);
    // In nanoseconds, by call.
    let took: Arc<[AtomicU64]> = due.iter().map(|_| AtomicU64::new(0)).collect();
    // Closed when the last call has ended; holds the first failure.
    let (failed, mut failure) = channel(1);
    let pacer = Pacer { caller: caller.clone(), took: took.clone(), failed };
    let runtime = Handle::current();
    let thread = std::thread::spawn(move || pacer.run(&runtime, &due));
    if let Some(error) = failure.recv().await {
        return Err(error);
    }
    let mut late = thread.join().map_err(|_| anyhow!("the pacer panicked"))??;
    let nanos = took.iter().map(|took| took.load(Ordering::Relaxed));
    let mut times: Vec<_> = nanos.map(Duration::from_nanos).collect();
    let [p50, p99] = [percentile(&mut times, 50)?, percentile(&mut times, 99)?];
    Ok(format!("{p50} {p99} {}", percentile(&mut late, 99)?))
}

/// Arrivals of a Poisson process: the gaps between them are exponentially distributed.
fn due(during: Duration, rate: u64) -> Vec<Duration> {
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut gap = || -(1.0 - random.f64()).ln() / rate as f64;
    let mut at = gap();
    let mut due = Vec::new();
    while at < during.as_secs_f64() {
        due.push(Duration::from_secs_f64(at));
        at += gap();
    }
    due
}

struct Pacer<C> {
    caller: C,
    took: Arc<[AtomicU64]>,
    failed: Sender<Error>,
}

impl<C: Caller> Pacer<C> {
    /// Spawns each call when it is due; gives how late each was spawned.
    fn run(self, runtime: &Handle, due: &[Duration]) -> Result<Vec<Duration>> {
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).context("timer slack")?;
        let begun = Instant::now();
        let bytes = Bytes::from(vec![7; 64]);
        let mut late = Vec::with_capacity(due.len());
        for (i, &due) in due.iter().enumerate() {
            if let Some(early) = due.checked_sub(begun.elapsed()) {
                std::thread::sleep(early);
            }
            late.push(begun.elapsed().saturating_sub(due));
            let (caller, bytes) = (self.caller.clone(), bytes.clone());
            let (took, failed) = (self.took.clone(), self.failed.clone());
            runtime.spawn(async move {
                match caller.echo(bytes).await {
                    Ok(_) => {
                        let nanos = (begun.elapsed() - due).as_nanos() as u64;
                        took[i].store(nanos, Ordering::Relaxed);
                    }
                    // Only the first counts.
                    Err(error) => drop(failed.try_send(error)),
                }
            });
        }
        Ok(late)
    }
}
