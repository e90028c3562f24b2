//! Processes that are asked to end (SIGTERM) and started again while there are calls all the time:
//! none of them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::process::Process;
use common::until;
use easyremote::{Client, Options};
use futures::StreamExt;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::parts::{Parts, are_idle, count, double, figures, rest, tenths};

/// Up to 200 calls a second, and streams: all that have failed are given when it ends.
struct Load {
    stop: Arc<AtomicBool>,
    ended: Arc<AtomicU64>,
    /// The longest time that a short call has taken, in milliseconds.
    longest: Arc<AtomicU64>,
    calls: JoinHandle<Vec<String>>,
}

impl Load {
    const PAUSE: Duration = Duration::from_millis(5);
    /// Of so many calls one is a stream.
    const STREAMS: u64 = 20;
    /// Calls that are under way at a time: fewer than may wait for a connection, however long a slow
    /// machine takes to start a process.
    const AT_ONCE: usize = 500;

    fn start(client: Client) -> Self {
        let (stop, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let longest = Arc::new(AtomicU64::new(0));
        let client = client.with(Options::new().timeout(Duration::from_secs(60)));
        let calls = tokio::spawn({
            let (stop, ended, longest) = (stop.clone(), ended.clone(), longest.clone());
            async move {
                let (mut calls, mut ticks) = (JoinSet::new(), interval(Self::PAUSE));
                let mut failed = Vec::new();
                for n in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    ticks.tick().await;
                    if calls.len() == Self::AT_ONCE {
                        failed.extend(calls.join_next().await.and_then(Result::unwrap));
                    }
                    let (client, ended) = (client.clone(), ended.clone());
                    let longest = longest.clone();
                    calls.spawn(async move {
                        let begun = Instant::now();
                        let outcome = Self::call(&client, n).await;
                        ended.fetch_add(1, Ordering::Relaxed);
                        if !n.is_multiple_of(Self::STREAMS) {
                            let took = begun.elapsed().as_millis() as u64;
                            longest.fetch_max(took, Ordering::Relaxed);
                        }
                        outcome.err()
                    });
                }
                failed.extend(calls.join_all().await.into_iter().flatten());
                failed
            }
        });
        Self { stop, ended, longest, calls }
    }

    async fn call(client: &Client, n: u64) -> Result<(), String> {
        if !n.is_multiple_of(Self::STREAMS) {
            let doubled = double::call(client, n).await.map_err(|error| format!("{error:?}"))?;
            return if doubled == 2 * n {
                Ok(())
            } else {
                Err(format!("{doubled}, not {}", 2 * n))
            };
        }
        let mut items = count::call(client, 30);
        for i in 0..30 {
            match items.next().await {
                Some(Ok(item)) if item == i => {}
                other => return Err(format!("{other:?}, not {i}")),
            }
        }
        match items.next().await {
            None => Ok(()),
            other => Err(format!("{other:?}, not the end")),
        }
    }

    /// Waits for `n` more calls to end.
    async fn goes_on(&self, n: u64) {
        let before = self.ended.load(Ordering::Relaxed);
        until(|| self.ended.load(Ordering::Relaxed) >= before + n).await;
    }

    async fn none_has_failed(self) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = common::soon(self.calls).await.unwrap();
        let n = self.ended.load(Ordering::Relaxed);
        assert!(failed.is_empty(), "{} of {n} calls: {failed:#?}", failed.len());
    }
}

/// Asks a process to end, and waits until it has ended well.
async fn end(process: &mut Process) {
    process.signal("TERM");
    until(|| process.has_ended()).await;
    assert_eq!(process.exit_code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_are_restarted_one_after_the_other_and_no_call_fails() {
    let mut parts = Parts::start();
    let mut nodes = ["a", "b"].map(|id| (id, parts.process("node", id)));
    let load = Load::start(parts.client().await);
    for _ in 0..10 {
        for (id, node) in &mut nodes {
            load.goes_on(50).await;
            end(node).await;
            *node = parts.process("node", id);
        }
    }
    load.goes_on(50).await;
    load.none_has_failed().await;
    let [.., nodes, _] = figures(&mut parts.gateway);
    assert_eq!(nodes, 2);
    are_idle(&mut [&mut parts.gateway]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_only_gateway_is_restarted_and_no_call_fails() {
    let mut parts = Parts::start();
    let mut node = parts.process("node", "a");
    let load = Load::start(parts.client().await);
    for _ in 0..5 {
        load.goes_on(50).await;
        end(&mut parts.gateway).await;
        parts.start_gateway_again();
    }
    load.goes_on(50).await;
    load.none_has_failed().await;
    are_idle(&mut [&mut parts.gateway, &mut node]).await;
}

/// Makes one call that takes long after the other until told to stop; gives what has failed.
fn long_calls(
    client: &Client,
    stop: &Arc<AtomicBool>,
    n: u64,
    streams: bool,
) -> JoinHandle<Vec<String>> {
    let (client, stop) = (client.clone(), stop.clone());
    tokio::spawn(async move {
        let mut failed = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if streams {
                let items: Vec<_> = tenths::call(&client, n).collect().await;
                let right = items.len() as u64 == n && items.iter().all(Result::is_ok);
                failed.extend((!right).then(|| format!("{:?} of {n}", items.last())));
            } else if let Err(error) = rest::call(&client, n).await {
                failed.push(format!("{error:?}"));
            }
        }
        failed
    })
}

/// The only gateway is restarted under calls that are short, and others that take `tenths` of a
/// second and follow each other without a pause.
async fn restarts(n: usize, tenths: u64, streams: bool) {
    let mut parts = Parts::start();
    let mut node = parts.process("node", "a");
    let client = parts.client().await;
    let stop = Arc::new(AtomicBool::new(false));
    let long: Vec<_> = (0..20).map(|_| long_calls(&client, &stop, tenths, streams)).collect();
    let load = Load::start(client);
    let mut longest_restart = Duration::ZERO;
    for _ in 0..n {
        load.goes_on(50).await;
        until(|| figures(&mut parts.gateway)[0] >= 20).await;
        end(&mut parts.gateway).await;
        let ended = Instant::now();
        parts.start_gateway_again();
        longest_restart = longest_restart.max(ended.elapsed());
        load.goes_on(50).await;
    }
    stop.store(true, Ordering::Relaxed);
    for calls in long {
        let failed = common::soon(calls).await.unwrap();
        assert!(failed.is_empty(), "{failed:#?}");
    }
    let longest = Duration::from_millis(load.longest.load(Ordering::Relaxed));
    println!("{n} restarts, streams {streams}: {longest_restart:?} at most, a call {longest:?}");
    load.none_has_failed().await;
    // 2 s are promised; peers look for the gateway twice a second, but share two processors here.
    assert!(longest <= longest_restart + Duration::from_secs(4), "{longest:?}");
    are_idle(&mut [&mut parts.gateway, &mut node]).await;
}

/// With `PROMISES_LONG=1`, how often and how long.
pub(crate) fn is_long() -> bool {
    std::env::var_os("PROMISES_LONG").is_some_and(|long| long == "1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_streams_make_no_call_wait_for_the_restart_of_the_only_gateway() {
    let (n, tenths) = if is_long() { (5, 100) } else { (2, 40) };
    restarts(n, tenths, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_calls_make_no_call_wait_for_the_restart_of_the_only_gateway() {
    let (n, tenths) = if is_long() { (5, 100) } else { (2, 40) };
    restarts(n, tenths, false).await;
}
