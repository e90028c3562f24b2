//! A reader that follows only the newest item, ten times slower than the function: nobody's memory
//! grows.

use std::time::{Duration, Instant};

use common::process::{Process, tell};
use common::soon;
use easyremote::Client;
use futures::StreamExt;
use tokio::time::sleep;

use crate::parts::{Parts, figures, readings};
use crate::restarts::is_long;

/// What memory may grow by between the two looks at it.
const MOST_KIB: u64 = 8 << 10;

/// Ten times the pause of the function.
const PAUSE: Duration = Duration::from_millis(10);

/// How the line begins in which the client tells how old items were.
const AGES: &str = "ages ";

/// In the client's process: the reader.
pub(crate) struct Follower {
    items: easyremote::StreamCall<readings>,
    /// The number of the last item, and how many have been read.
    last: Option<u64>,
    read: u64,
    /// How old items were when they were taken.
    ages: Vec<Duration>,
}

impl Follower {
    /// Calls the function with the first item that is read.
    pub(crate) fn new(client: &Client) -> Self {
        Self { items: readings::call(client).latest(), last: None, read: 0, ages: Vec::new() }
    }

    /// Reads for so long.
    pub(crate) async fn follow(&mut self, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            let (n, at, _) = soon(self.items.next()).await.unwrap().unwrap();
            assert!(self.last.is_none_or(|last| last < n), "{n} after {:?}", self.last);
            (self.last, self.read) = (Some(n), self.read + 1);
            self.ages.push(at.elapsed().unwrap_or_default());
            sleep(PAUSE).await;
        }
        // What it has no time for is left out.
        assert!(self.last > Some(2 * self.read), "{} of {:?}", self.read, self.last);
        let mut ages = std::mem::take(&mut self.ages);
        ages.sort_unstable();
        let [half, most, all] = [50, 99, 100].map(|part| ages[(ages.len() - 1) * part / 100]);
        tell(format_args!("{AGES}of {}: p50 {half:?}, p99 {most:?}, max {all:?}", ages.len()));
    }
}

/// Has the client read for a time; returns what it says of the ages of items, and its memory.
async fn follow(client: Process, what: &'static str) -> (Process, String, u64) {
    let mut client = client;
    let asked = tokio::task::spawn_blocking(move || {
        client.tell(what);
        let (ages, memory) = (client.line(AGES), client.line(&format!("{what} ")));
        (client, ages, memory.parse().unwrap())
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_of_the_newest_item_costs_nobody_memory() {
    let (settles, goes_on) =
        if is_long() { ("follow 10", "follow 50") } else { ("follow 3", "follow 5") };
    let mut parts = Parts::start();
    let (mut node, mut client) = (parts.process("node", "a"), parts.process("client", ""));
    let mut looks = Vec::new();
    for time in [settles, goes_on] {
        let (ages, memory);
        (client, ages, memory) = follow(client, time).await;
        println!("ages of items, {time} s: {ages}");
        let ([.., of_gateway], [.., of_node]) = (figures(&mut parts.gateway), figures(&mut node));
        looks.push([memory, of_gateway, of_node]);
    }
    println!("KiB of client, gateway and node: {looks:?}");
    let grows = std::iter::zip(looks[0], looks[1]).any(|(one, two)| two > one + MOST_KIB);
    assert!(!grows, "KiB of client, gateway and node: {looks:?}");
}
