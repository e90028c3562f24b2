//! Random callers, compared with what a batch function promises.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::soon;
use easyremote::{Error, ErrorKind, functions, remote};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Runs, Stage};

const MAX: u64 = 16;
const CONCURRENCY: usize = 2;
const CALLERS: u64 = 300;

/// Runs at a time, and the most there have been.
#[derive(Default)]
struct Busy {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A run, until it ends or is dropped.
struct Running<'a>(&'a Busy);

impl<'a> Running<'a> {
    fn begin(busy: &'a Busy) -> Self {
        let now = busy.now.fetch_add(1, Ordering::SeqCst) + 1;
        busy.most.fetch_max(now, Ordering::SeqCst);
        Self(busy)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The weight of a caller, by its number.
fn weight_of(id: &u64) -> usize {
    match id % 50 {
        49 => 2 * MAX as usize,
        n => (n % 5) as usize,
    }
}

fn value_of(id: u64) -> Result<u64, u64> {
    if id % 7 == 3 { Err(id) } else { Ok(id.wrapping_mul(0x9e37_79b9_7f4a_7c15)) }
}

#[remote(batch(max = 16, wait = "2ms", weigh = weight_of), concurrency = 2)]
async fn slow(#[state] runs: &Runs, #[state] busy: &Busy, ids: Vec<u64>) -> Vec<Result<u64, u64>> {
    let _running = Running::begin(busy);
    runs.note(&ids);
    sleep(Duration::from_micros(ids[0] % 3_000)).await;
    ids.into_iter().map(value_of).collect()
}

#[remote(batch(max = 16, wait = "2ms", weigh = weight_of), concurrency = 2)]
fn blocking(#[state] runs: &Runs, #[state] busy: &Busy, ids: Vec<u64>) -> Vec<Result<u64, u64>> {
    let _running = Running::begin(busy);
    runs.note(&ids);
    std::thread::sleep(Duration::from_micros(ids[0] % 3_000));
    ids.into_iter().map(value_of).collect()
}

/// What a caller has got; `None` if it has left.
type Got = Option<Result<Result<u64, u64>, Error>>;

async fn random_callers(seed: u64, sync: bool) {
    let busy = Arc::new(Busy::default());
    let functions = functions![slow, blocking];
    let stage =
        Stage::with(|node| node.functions(functions).shared_state(busy.clone()).concurrency(40));
    let stage = stage.await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut callers: Vec<(u64, bool, bool, JoinHandle<Got>)> = Vec::new();
    for id in 0..CALLERS {
        let leaves = random.u8(0..5) == 0;
        let timeout = (random.u8(0..4) == 0).then(|| Duration::from_micros(random.u64(1..9_000)));
        let stays = Duration::from_micros(random.u64(0..6_000));
        let client = stage.client.clone();
        let caller = tokio::spawn(async move {
            let outcome = async {
                macro_rules! outcome {
                    ($function:ident) => {{
                        let mut call = $function::call(&client, id);
                        if let Some(timeout) = timeout {
                            call = call.timeout(timeout);
                        }
                        match call.await {
                            Ok(value) => Ok(Ok(value)),
                            Err(easyremote::CallError::Function(fault)) => Ok(Err(fault)),
                            Err(easyremote::CallError::Remote(error)) => Err(error),
                        }
                    }};
                }
                if sync { outcome!(blocking) } else { outcome!(slow) }
            };
            tokio::select! {
                outcome = outcome => Some(outcome),
                () = sleep(stays), if leaves => None,
            }
        });
        callers.push((id, leaves, timeout.is_some(), caller));
        if random.u8(0..12) == 0 {
            sleep(Duration::from_micros(random.u64(0..3_000))).await;
        }
    }
    let mut answered = Vec::new();
    for (id, leaves, timed, caller) in callers {
        match soon(caller).await.unwrap() {
            Some(Ok(value)) => {
                assert_eq!(value, value_of(id), "seed {seed}");
                answered.push(id);
            }
            Some(Err(error)) => {
                assert!(timed, "seed {seed}, caller {id}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "seed {seed}: {error:?}");
            }
            None => assert!(leaves),
        }
    }
    // Those that have left are gone from the node, too.
    common::until(|| stage.node.stats().in_flight == 0).await;
    assert_eq!(stage.node.stats().waiting, 0);
    assert!(busy.most.load(Ordering::SeqCst) <= CONCURRENCY, "seed {seed}");
    let runs = stage.runs.all();
    for run in &runs {
        let weight: usize = run.iter().map(|id| weight_of(id).max(1)).sum();
        assert!(weight <= MAX as usize || run.len() == 1, "seed {seed}: {run:?}");
    }
    let mut ran = runs.concat();
    ran.sort_unstable();
    let n = ran.len();
    ran.dedup();
    assert_eq!(ran.len(), n, "seed {seed}: an element ran twice");
    assert!(answered.iter().all(|id| ran.binary_search(id).is_ok()), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn random_callers_of_an_async_function() {
    for seed in 0..6 {
        random_callers(seed, false).await;
    }
}

#[tokio::test]
async fn random_callers_on_one_thread() {
    for seed in 10..16 {
        random_callers(seed, seed % 2 == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn random_callers_of_a_sync_function() {
    for seed in 20..26 {
        random_callers(seed, true).await;
    }
}
