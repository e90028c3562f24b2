//! What nodes offer in a campaign. Each function writes down that it starts before it does anything,
//! and that it ends before it says so to anybody.

use std::fmt;
use std::fs::File;
use std::io::Write;
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
    pub(crate) fn open(path: &Path) -> Self {
        Self(Arc::new(File::options().create(true).append(true).open(path).unwrap()))
    }

    fn line(&self, line: fmt::Arguments<'_>) {
        // One write, so that lines of several threads do not mix; then it is the kernel's.
        (&*self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn start(&self, ctx: &Context, id: u64) -> Started {
        let attempt = ctx.attempt();
        self.line(format_args!("start {id} {attempt}"));
        Started { log: self.clone(), id, attempt }
    }
}

/// A function that runs.
struct Started {
    log: Log,
    id: u64,
    attempt: u64,
}

impl Started {
    fn end(&self) {
        self.log.line(format_args!("end {} {}", self.id, self.attempt));
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
    let started = log.start(ctx, id);
    let numbers = numbers.collect().await;
    started.end();
    (id, numbers)
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

pub(crate) fn all() -> Functions {
    functions![once, again, blocking, bulk, items, items_again, upload, duplex]
}
