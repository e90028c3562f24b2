//! What nodes offer in a campaign. Each function writes down that it starts before it does anything,
//! and that it ends before it says so to anybody.
//!
//! | line                  | written when                                                         |
//! |-----------------------|----------------------------------------------------------------------|
//! | `life`                | a process of the node begins; what follows is of this process        |
//! | `start <id> <number>` | a function starts for the call `id`; the number is that of the       |
//! |                       | attempt, for a run of a key a random one, and for a call in a batch  |
//! |                       | [`PARTS`] times its own besides                                      |
//! | `end <id> <number>`   | it ends                                                              |
//! | `batch <size>`        | a batch runs                                                         |

use std::fmt;
use std::fs::File;
use std::io::Write;
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use easyremote::node::Functions;
use easyremote::{Context, functions, remote};
use futures::{Stream, StreamExt};
use tokio::time::sleep;

/// What the functions of a node have done: lines in a file, which outlive the process.
#[derive(Clone)]
pub(crate) struct Log(Arc<File>);

impl Log {
    /// Begins a life of the node.
    pub(crate) fn open(path: &Path) -> Self {
        let log = Self(Arc::new(File::options().create(true).append(true).open(path).unwrap()));
        log.line(format_args!("life"));
        log
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        // One write, so that lines of several threads do not mix; then it is the kernel's.
        (&*self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn start(&self, ctx: &Context, id: u64) -> Started {
        self.begin(id, ctx.attempt())
    }

    fn begin(&self, id: u64, number: u64) -> Started {
        self.line(format_args!("start {id} {number}"));
        Started { log: self.clone(), id, number }
    }
}

/// A function that runs.
struct Started {
    log: Log,
    id: u64,
    number: u64,
}

impl Started {
    fn end(&self) {
        self.log.line(format_args!("end {} {}", self.id, self.number));
    }
}

#[remote]
pub(crate) async fn once(#[state] log: &Log, #[ctx] ctx: &Context, id: u64, ms: u64) -> u64 {
    let started = log.start(ctx, id);
    sleep(Duration::from_millis(ms)).await;
    started.end();
    id
}

#[remote(idempotent)]
pub(crate) async fn again(#[state] log: &Log, #[ctx] ctx: &Context, id: u64, ms: u64) -> u64 {
    let started = log.start(ctx, id);
    sleep(Duration::from_millis(ms)).await;
    started.end();
    id
}

#[remote]
pub(crate) fn blocking(#[state] log: &Log, #[ctx] ctx: &Context, id: u64, ms: u64) -> u64 {
    let started = log.start(ctx, id);
    std::thread::sleep(Duration::from_millis(ms));
    started.end();
    id
}

/// Long arguments, and an answer as long.
#[remote]
pub(crate) async fn bulk(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    bytes: Vec<u8>,
) -> Vec<u8> {
    let started = log.start(ctx, id);
    started.end();
    bytes.into_iter().rev().collect()
}

#[remote(stream)]
pub(crate) fn items(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    count: u64,
) -> impl Stream<Item = (u64, u64)> {
    numbered(log.start(ctx, id), count)
}

#[remote(stream, idempotent)]
pub(crate) fn items_again(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    count: u64,
) -> impl Stream<Item = (u64, u64)> {
    numbered(log.start(ctx, id), count)
}

fn numbered(started: Started, count: u64) -> impl Stream<Item = (u64, u64)> {
    async_stream::stream! {
        for n in 0..count {
            yield (started.id, n);
            if n % 8 == 0 {
                sleep(Duration::from_millis(2)).await;
            }
        }
        started.end();
    }
}

#[remote]
pub(crate) async fn upload(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    numbers: impl Stream<Item = u64>,
) -> (u64, Vec<u64>) {
    collected(log.start(ctx, id), numbers).await
}

/// The same, for a caller that goes on after a loss.
#[remote(resumable)]
pub(crate) async fn kept_upload(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    numbers: impl Stream<Item = u64>,
) -> (u64, Vec<u64>) {
    collected(log.start(ctx, id), numbers).await
}

async fn collected(started: Started, numbers: impl Stream<Item = u64>) -> (u64, Vec<u64>) {
    let numbers = numbers.collect().await;
    started.end();
    (started.id, numbers)
}

#[remote(stream)]
pub(crate) fn duplex(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    numbers: impl Stream<Item = u64>,
) -> impl Stream<Item = (u64, u64)> {
    let started = log.start(ctx, id);
    async_stream::stream! {
        let mut numbers = std::pin::pin!(numbers);
        while let Some(n) = numbers.next().await {
            yield (id, n);
        }
        started.end();
    }
}

/// Items that come three times each, so that there is something to deduplicate.
#[remote(stream)]
pub(crate) fn steps(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    count: u64,
) -> impl Stream<Item = (u64, u64)> {
    numbered(log.start(ctx, id), count).map(|(id, n)| (id, n / STEP))
}

/// The same, from an iterator.
#[remote(stream)]
pub(crate) fn ticks(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    count: u64,
) -> impl Iterator<Item = (u64, u64)> {
    let started = log.start(ctx, id);
    let mut n = 0;
    iter::from_fn(move || {
        if n == count {
            started.end();
            return None;
        }
        if n % 8 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
        n += 1;
        Some((id, (n - 1) / STEP))
    })
    .fuse()
}

/// An operator: passes the items whose number is no multiple.
#[remote(operator)]
pub(crate) fn no_multiple(item: &(u64, u64), of: u64) -> bool {
    !item.1.is_multiple_of(of)
}

/// How often each item comes.
pub(crate) const STEP: u64 = 3;

/// A stream that lasts long enough for something to happen to it.
#[remote(stream, replay = "64KiB")]
pub(crate) fn kept(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    count: u64,
) -> impl Stream<Item = (u64, u64)> {
    paced(log.start(ctx, id), 0, count)
}

/// The same, which can go on at another node.
#[remote(stream, idempotent, replay = "64KiB")]
pub(crate) fn resumed(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    #[resume] done: u64,
    id: u64,
    count: u64,
) -> impl Stream<Item = (u64, u64)> {
    paced(log.start(ctx, id), done, count)
}

fn paced(started: Started, done: u64, count: u64) -> impl Stream<Item = (u64, u64)> {
    async_stream::stream! {
        for n in done..count {
            yield (started.id, n);
            sleep(Duration::from_millis(5)).await;
        }
        started.end();
    }
}

/// A job, which says how far it is.
#[remote]
pub(crate) async fn train(#[state] log: &Log, #[ctx] ctx: &Context, id: u64, ms: u64) -> u64 {
    let started = log.start(ctx, id);
    for quarter in 0..4 {
        ctx.progress(f64::from(quarter) / 4.0, format!("quarter {quarter}"));
        sleep(Duration::from_millis(ms / 4)).await;
    }
    started.end();
    id
}

/// Returns the number of its run, besides the id.
#[remote]
pub(crate) async fn keyed(#[state] log: &Log, id: u64, ms: u64) -> (u64, u64) {
    let started = log.begin(id, fastrand::u64(..));
    sleep(Duration::from_millis(ms)).await;
    started.end();
    (id, started.number)
}

/// Most calls that run together: less than a node has room for.
pub(crate) const MAX_BATCH: u64 = 4;

#[remote(batch(max = 4, wait = "5ms"), concurrency = 2)]
pub(crate) async fn batched(
    #[state] log: &Log,
    #[ctx] callers: &[Context],
    ids: Vec<u64>,
    parts: Vec<u64>,
) -> Vec<(u64, u64)> {
    log.line(format_args!("batch {}", ids.len()));
    let calls: Vec<_> = iter::zip(ids, parts).collect();
    let start =
        |(ctx, call): (&Context, &(u64, u64))| log.begin(call.0, call.1 * PARTS + ctx.attempt());
    let started: Vec<_> = iter::zip(callers, &calls).map(start).collect();
    sleep(Duration::from_millis(4)).await;
    started.iter().for_each(Started::end);
    calls
}

/// More than attempts of a call.
pub(crate) const PARTS: u64 = 100;

/// Returns the node, besides the id.
#[remote]
pub(crate) async fn everywhere(
    #[state] log: &Log,
    #[ctx] ctx: &Context,
    id: u64,
    ms: u64,
) -> (u64, String) {
    let started = log.start(ctx, id);
    sleep(Duration::from_millis(ms)).await;
    started.end();
    (id, ctx.node().to_owned())
}

pub(crate) fn all() -> Functions {
    functions![
        once,
        again,
        blocking,
        bulk,
        items,
        items_again,
        upload,
        kept_upload,
        duplex,
        steps,
        ticks,
        kept,
        resumed,
        no_multiple,
        train,
        keyed,
        batched,
        everywhere,
    ]
}
