//! Very many streams that are dropped, and many that nobody reads.

use std::time::{Duration, Instant};

use common::process::{Process, question, tell};
use common::soon;
use futures::{StreamExt, stream};

use crate::latest::Follower;
use crate::parts::{
    Parts, STATE, are_idle, bulk, connect, double, end_of_jobs, endless, figures, memory_kib, part,
    train,
};

/// Streams of a client that are under way at a time.
const AT_ONCE: usize = 64;

/// The client's process: does with streams what it is told to, and tells its memory afterwards.
pub(crate) async fn be_client() {
    let Some(part) = part("client") else { return };
    let client = connect(&part).await;
    tell("ready ");
    let (mut held, mut follower) = (Vec::new(), Follower::new(&client));
    while let Some(asked) = question().await {
        let (what, number) = asked.split_once(' ').unwrap();
        let number: usize = number.parse().unwrap();
        match what {
            "drop" => {
                let one = async |_| {
                    let first = endless::call(&client).next().await;
                    assert!(matches!(first, Some(Ok(0))), "{first:?}");
                };
                stream::iter(0..number).map(one).buffer_unordered(AT_ONCE).count().await;
            }
            "hold" => {
                for _ in 0..number {
                    // Longer items of so many streams would be more than the node holds unread.
                    held.push(bulk::call(&client, 64 << 10).open().await.unwrap());
                }
            }
            "call" => {
                for n in 0..number as u64 {
                    // Held up by streams, it would wait for as long as those.
                    assert_eq!(soon(double::call(&client, n)).await.unwrap(), 2 * n);
                }
            }
            "release" => held.clear(),
            "follow" => follower.follow(Duration::from_secs(number as u64)).await,
            "spawn" => {
                let end = end_of_jobs(&part[STATE]);
                let job = train::call(&client, number as u64, end).spawn().await.unwrap();
                tell(format_args!("job {}", job.id()));
            }
            _ => panic!("{asked}"),
        }
        tell(format_args!("{asked} {}", memory_kib()));
    }
    std::process::exit(0);
}

/// Has the client do something; gives its memory then.
async fn ask(client: Process, what: &'static str) -> (Process, u64) {
    let mut client = client;
    let asked = tokio::task::spawn_blocking(move || {
        let memory = client.ask(what).parse().unwrap();
        (client, memory)
    });
    asked.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_streams_leave_nothing_behind() {
    /// What is used once more by chance.
    const SLACK_KIB: u64 = 4 << 10;
    let mut parts = Parts::start();
    let (mut node, mut client) = (parts.process("node", "a"), parts.process("client", ""));
    let mut rounds = Vec::new();
    for _ in 0..2 {
        let memory;
        (client, memory) = ask(client, "drop 10000").await;
        are_idle(&mut [&mut parts.gateway, &mut node]).await;
        let [.., of_gateway] = figures(&mut parts.gateway);
        let [.., of_node] = figures(&mut node);
        rounds.push([memory, of_gateway, of_node]);
    }
    let costs = std::iter::zip(rounds[0], rounds[1]).all(|(one, two)| two <= one + SLACK_KIB);
    assert!(costs, "KiB of client, gateway and node: {rounds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_nobody_reads_hold_up_no_call() {
    /// Windows of 256 KiB on both hops, as much again for what is on its way, and what else a
    /// process uses in the meantime.
    const MOST_KIB: u64 = 300 * 512 + (32 << 10);
    let mut parts = Parts::start();
    let (mut node, client) = (parts.process("node", "a"), parts.process("client", ""));
    let (client, before) = ask(client, "call 10").await;
    let [.., gateway_before] = figures(&mut parts.gateway);
    let (client, _) = ask(client, "hold 300").await;
    let other = parts.client().await;
    let others = tokio::spawn(async move {
        let begun = Instant::now();
        let mut n = 0;
        while n < 100 || begun.elapsed() < Duration::from_secs(3) {
            assert_eq!(soon(double::call(&other, n)).await.unwrap(), 2 * n);
            n += 1;
        }
    });
    let (client, after) = ask(client, "call 100").await;
    others.await.unwrap();
    let [in_flight, _, _, gateway_after] = figures(&mut parts.gateway);
    assert_eq!(in_flight, 300, "they are still there");
    let rises = [after.saturating_sub(before), gateway_after.saturating_sub(gateway_before)];
    assert!(rises.iter().all(|rise| *rise < MOST_KIB), "KiB of client and gateway: {rises:?}");
    let (_client, _) = ask(client, "release 0").await;
    are_idle(&mut [&mut parts.gateway, &mut node]).await;
}
