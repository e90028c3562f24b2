//! Callers that make a node hold more than it has room for: arguments that are larger than they look,
//! and items that nobody reads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::hostile::attacker::Insider;
use common::hostile::wire::{self, OVERLOADED};
use common::process::{Process, question, tell};
use common::{World, soon, until};
use easyremote::node::NodeLimits;
use easyremote::{
    Client, Error, ErrorKind, Executed, Node, Options, Retry, Role, functions, remote,
};
use futures::future::join_all;
use futures::{FutureExt, Stream, StreamExt, stream};

const TICKET: &str = "HOARD_TEST_TICKET";
/// The node's `max_unfinished`.
const UNFINISHED: &str = "EASYREMOTE_TEST_UNFINISHED";

/// What the node may hold of what is tested.
const ROOM: usize = 64 << 20;
/// What a process takes beside what is counted: that of the allocator, and of other calls.
const SLACK: u64 = 40 << 10;

/// A million numbers are a message of 1 MiB, and values of 16.
const NUMBERS: usize = 1 << 20;

/// Runs of the functions below, which hold decoded arguments until they are cancelled.
static KEPT: AtomicUsize = AtomicUsize::new(0);

/// One run, from its start until it is dropped.
struct Kept;

impl Kept {
    fn new() -> Self {
        KEPT.fetch_add(1, Ordering::Relaxed);
        Self
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        KEPT.fetch_sub(1, Ordering::Relaxed);
    }
}

#[remote]
async fn keep(numbers: Vec<u128>) -> usize {
    let _kept = Kept::new();
    std::future::pending::<()>().await;
    numbers.len()
}

#[remote]
fn keep_thread(numbers: Vec<Option<u64>>, #[ctx] ctx: &easyremote::Context) -> usize {
    let _kept = Kept::new();
    futures::executor::block_on(ctx.cancelled());
    numbers.len()
}

#[remote(stream)]
fn keep_stream(lists: Vec<Vec<u8>>) -> impl Stream<Item = usize> {
    let kept = Kept::new();
    stream::once(async { 1 }).chain(stream::once(async move {
        let _kept = kept;
        std::future::pending::<()>().await;
        lists.len()
    }))
}

#[remote(stream)]
fn keep_iterator(numbers: Vec<(u8, u128)>) -> impl Iterator<Item = usize> {
    let kept = Kept::new();
    std::iter::once(numbers.len()).chain(std::iter::repeat_with(move || {
        let _held = &kept;
        std::thread::sleep(Duration::from_millis(10));
        numbers.len()
    }))
}

#[remote]
async fn keep_upload(numbers: Vec<u128>, _items: impl Stream<Item = u8>) -> usize {
    let _kept = Kept::new();
    std::future::pending::<()>().await;
    numbers.len()
}

#[remote]
async fn small(n: i64) -> i64 {
    n + 1
}

#[remote(stream)]
fn blobs(bytes: usize) -> impl Stream<Item = Vec<u8>> {
    stream::repeat_with(move || vec![7; bytes])
}

#[remote(stream)]
fn blobs_thread(bytes: usize) -> impl Iterator<Item = Vec<u8>> {
    std::iter::repeat_with(move || vec![7; bytes])
}

#[remote]
async fn blob(bytes: usize) -> String {
    "x".repeat(bytes)
}

/// The node: this file's tests again. Among the tests it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn node_process() {
    let Ok(ticket) = std::env::var(TICKET) else { return };
    let functions = functions![
        keep,
        keep_thread,
        keep_stream,
        keep_iterator,
        keep_upload,
        small,
        blob,
        blobs,
        blobs_thread
    ];
    let node = Node::builder(&*ticket).functions(functions);
    let room = std::env::var(UNFINISHED).unwrap().parse().unwrap();
    let node = node
        .limits(NodeLimits::new().max_message(32 << 20).max_unfinished(room))
        .serve()
        .await
        .unwrap();
    println!("\nserving");
    while let Some(asked) = question().await {
        match &*asked {
            "in flight" => tell(format_args!("in flight {}", node.stats().in_flight)),
            "kept" => tell(format_args!("kept {}", KEPT.load(Ordering::Relaxed))),
            other => panic!("{other}"),
        }
    }
}

/// A node in a process of its own, and a client whose calls are not made again.
struct Hoard {
    world: World,
    node: Process,
    client: Client,
}

impl Hoard {
    /// With room for so many bytes of arguments, and half as many of items and answers.
    async fn start(unfinished: usize) -> Self {
        let world = World::start().await;
        let ticket = world.gateway.ticket(Role::Node).to_string();
        let room = unfinished.to_string();
        let environment = [(TICKET, &*ticket), (UNFINISHED, &*room)];
        let mut node = Process::start("hoards::node_process", environment);
        node.line("serving");
        let client = world.client().await.with(Options::new().retry(Retry::never()));
        let hoard = Self { world, node, client };
        hoard.serves().await;
        hoard
    }

    async fn serves(&self) {
        assert_eq!(soon(small::call(&self.client, 1)).await.unwrap(), 2);
    }

    /// In KiB, by proc(5).
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.node.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Waits until the node has no call, and no function runs any more.
    async fn until_idle(&mut self) {
        until(|| ["in flight", "kept"].iter().all(|gauge| self.node.ask(gauge) == "0")).await;
    }
}

/// How many of `calls` fail. Each of the others runs, so all arguments are decoded by then.
async fn refused(
    hoard: &mut Hoard,
    calls: Vec<futures::future::BoxFuture<'static, Error>>,
) -> usize {
    let n = calls.len();
    let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let before = hoard.memory();
    let over = || calls.iter().filter(|call| call.is_finished()).count();
    let (mut failed, mut running) = (0, 0);
    let node = &mut hoard.node;
    until(|| {
        (failed, running) = (over(), node.ask("kept").parse::<usize>().unwrap());
        failed + running == n
    })
    .await;
    let rise = hoard.memory().saturating_sub(before);
    println!("{running} of {n} calls run, and the node has {rise} KiB more");
    // While a list grows it is there twice, and so is a short text beside its allocator's own.
    assert!(rise <= (ROOM as u64 >> 10) * 2 + SLACK, "{rise} KiB");
    hoard.serves().await;
    for call in calls {
        match call.is_finished() {
            true => {
                let error = call.await.unwrap();
                let found = (error.kind(), error.executed());
                assert_eq!(found, (ErrorKind::Overloaded, Executed::No), "{error}");
                assert!(error.retry_after().is_some());
            }
            false => call.abort(),
        }
    }
    hoard.until_idle().await;
    failed
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore)]
async fn arguments_that_are_larger_than_they_look() {
    let mut hoard = Hoard::start(ROOM).await;
    let client = hoard.client.clone();
    for name in ["async", "thread", "stream", "iterator", "upload"] {
        let call = || {
            let client = client.clone();
            async move {
                match name {
                    "async" => keep::call(&client, vec![1; NUMBERS]).await.unwrap_err(),
                    "thread" => keep_thread::call(&client, vec![None; NUMBERS]).await.unwrap_err(),
                    "stream" => {
                        let mut items = keep_stream::call(&client, vec![vec![1; 2]; NUMBERS / 3]);
                        loop {
                            if let Err(error) = items.next().await.unwrap() {
                                break error;
                            }
                        }
                    }
                    "iterator" => {
                        let mut items = keep_iterator::call(&client, vec![(1, 1); NUMBERS / 2]);
                        loop {
                            if let Err(error) = items.next().await.unwrap() {
                                break error;
                            }
                        }
                    }
                    _ => {
                        let items = stream::pending();
                        keep_upload::call(&client, vec![1; NUMBERS], items).await.unwrap_err()
                    }
                }
            }
            .boxed()
        };
        // Twice: what has been held is given back.
        for _ in 0..2 {
            let failed = refused(&mut hoard, (0..20).map(|_| call()).collect()).await;
            assert!((10..20).contains(&failed), "{name}: {failed} of 20 are refused");
        }
    }
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore)]
async fn items_that_nobody_reads() {
    let mut hoard = Hoard::start(2 * ROOM).await;
    for (name, size) in [("async", 1 << 20), ("thread", 1 << 20), ("async", 8 << 20)] {
        let before = hoard.memory();
        let client = hoard.client.clone();
        let mut running = Vec::new();
        let mut refusals = 0;
        for _ in 0..(300 << 20) / size {
            let opened = match name {
                "async" => soon(blobs::call(&client, size).open()).await.map(StreamExt::boxed),
                _ => soon(blobs_thread::call(&client, size).open()).await.map(StreamExt::boxed),
            };
            match opened {
                Ok(items) => running.push(items),
                Err(error) => {
                    let found = (error.kind(), error.executed());
                    assert_eq!(found, (ErrorKind::Overloaded, Executed::No), "{error}");
                    refusals += 1;
                }
            }
        }
        let rise = hoard.memory().saturating_sub(before);
        println!("{} streams run, {refusals} are refused, {rise} KiB more", running.len());
        // A stream holds three items: one is being written, one is next, and one waits for room.
        assert!(refusals > 0 && running.len() >= ROOM.div_ceil(3 * size), "{}", running.len());
        assert!(rise <= (ROOM as u64 >> 10) * 3 / 2 + SLACK, "{rise} KiB");
        hoard.serves().await;
        // Small items wait for nobody, and each stream goes on when it is read.
        let reads = running.iter_mut().map(|items| async {
            for _ in 0..3 {
                assert_eq!(soon(items.next()).await.unwrap().unwrap().len(), size);
            }
        });
        join_all(reads).await;
        drop(running);
        hoard.until_idle().await;
        let again = soon(blobs::call(&client, size).open()).await;
        drop(again.unwrap());
        hoard.until_idle().await;
    }
    drop(hoard.world);
}

/// Many at once, so that none is there when the others are let in.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(target_os = "linux"), ignore)]
async fn items_that_nobody_reads_of_streams_that_begin_together() {
    const ITEM: usize = 1 << 20;
    let mut hoard = Hoard::start(2 * ROOM).await;
    let before = hoard.memory();
    let opening = (0..100).map(|_| blobs::call(&hoard.client, ITEM).open());
    let opened = soon(join_all(opening)).await;
    let n = opened.iter().filter(|opened| opened.is_ok()).count();
    // Until nothing more comes.
    let mut last = 0;
    until(|| {
        std::thread::sleep(Duration::from_millis(100));
        let now = hoard.memory();
        std::mem::replace(&mut last, now) == now
    })
    .await;
    let rise = hoard.memory().saturating_sub(before);
    println!("{n} streams run, {rise} KiB more");
    // Nothing was known of the function's items, so each stream has made one, even if some streams,
    // with three items each, had filled the room by then.
    let later = n.saturating_sub(ROOM.div_ceil(3 * ITEM));
    assert!(rise <= ((ROOM + later * ITEM) as u64 >> 10) + SLACK, "{rise} KiB");
    for error in opened.into_iter().filter_map(Result::err) {
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No));
    }
    hoard.until_idle().await;
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore)]
async fn answers_that_nobody_reads() {
    const SIZE: usize = 4 << 20;
    let mut hoard = Hoard::start(2 * ROOM).await;
    let ticket = hoard.world.gateway.ticket(Role::Client).to_string();
    let insider = Insider::that_reads(hoard.world.gateway.local_addr(), &ticket, 1_024).await;
    let body = wire::frame(wire::BODY, format!("[{SIZE}]").as_bytes());
    for _ in 0..2 {
        let before = hoard.memory();
        let (mut unread, mut refused) = (Vec::new(), 0);
        for _ in 0..60 {
            let call = [&wire::call("blob", wire::UNARY)[..], &body].concat();
            let (mut send, mut recv) = insider.open(&call).await;
            send.finish().unwrap();
            let mut header = [0; 5];
            soon(recv.read_exact(&mut header)).await.unwrap();
            if header[0] == wire::ERROR {
                let error = soon(recv.read_to_end(8 << 10)).await.unwrap();
                let text = String::from_utf8_lossy(&error);
                assert_eq!(error[..2], [OVERLOADED as u8, 0], "not executed: {text}");
                refused += 1;
            } else {
                unread.push((send, recv));
            }
        }
        let rise = hoard.memory().saturating_sub(before);
        println!("{} answers are not read, {refused} are refused, {rise} KiB more", unread.len());
        assert!(unread.len() > 3 && refused > 30, "{refused}");
        assert!(rise <= (ROOM as u64 >> 10) * 3 / 2 + SLACK, "{rise} KiB");
        // What gives little goes on.
        hoard.serves().await;
        drop(unread);
        let again = || async { soon(blob::call(&hoard.client, SIZE)).await.map(|blob| blob.len()) };
        let begun = std::time::Instant::now();
        while again().await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60));
            tokio::task::yield_now().await;
        }
    }
    hoard.until_idle().await;
}
