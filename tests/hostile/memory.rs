//! What a connection costs a gateway at worst, measured. `HOSTILE_CALLS=1024` fills all that one peer may
//! have by the default limits; `cargo test --release --test hostile memory -- --nocapture` prints.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{soon, until};
use futures::StreamExt;
use futures::stream;
use tokio::sync::watch;

use crate::attacker::{Attacker, Insider};
use crate::siege::{KIB, MIB, Siege};
use crate::wire;

/// What an idle peer may take, by the documentation.
const STRANGER: u64 = 128 * KIB;
const IDLE: u64 = 64 * KIB;
const SLACK: u64 = 16 * MIB;

#[tokio::test]
async fn of_a_stranger() {
    const N: u64 = 200;
    let siege = Siege::start().await;
    let before = siege.settled().await;
    let fill = async || {
        let stranger = Attacker::connect(siege.address).await;
        let (mut send, recv) = soon(stranger.connection.open_bi()).await.unwrap();
        // All but the last byte of the longest message.
        let message = [wire::begun(wire::CONTROL, 4_096), vec![0; 4_095]].concat();
        soon(send.write_all(&message)).await.unwrap();
        (stranger, send, recv)
    };
    let held: Vec<_> = stream::iter(0..N).map(|_| fill()).buffer_unordered(16).collect().await;
    let rise = siege.memory("VmHWM:").saturating_sub(before);
    println!("a stranger: {} KiB ({} of them: {rise} KiB)", rise / N, held.len());
    assert!(rise <= N * STRANGER + SLACK, "{rise} KiB");
}

#[tokio::test]
async fn of_an_idle_client() {
    const N: u64 = 200;
    let siege = Siege::start().await;
    let before = siege.settled().await;
    let dial = |_| Insider::client(siege.address, &siege.client_ticket);
    let held: Vec<_> = stream::iter(0..N).map(dial).buffer_unordered(16).collect().await;
    let rise = siege.settled().await.saturating_sub(before);
    println!("an idle client: {} KiB ({} of them: {rise} KiB)", rise / N, held.len());
    assert!(rise <= N * IDLE + SLACK, "{rise} KiB");
}

#[tokio::test]
async fn of_a_client_whose_calls_nobody_reads() {
    let calls = std::env::var("HOSTILE_CALLS").map_or(64, |text| text.parse().unwrap());
    let (streams, rise) = unread(calls, STREAM).await;
    println!("a client with {streams} calls that nobody reads: {} MiB", rise / MIB);
    // Of each call a window, and some.
    assert!(rise <= streams * (STREAM + 64 * KIB) + AHEAD + 2 * SLACK, "{rise} KiB");
}

#[tokio::test]
async fn of_a_client_that_keeps_to_no_credit() {
    let (streams, rise) = unread(64, 0).await;
    println!("a client with {streams} calls that keeps to no credit: {} MiB", rise / MIB);
    // Half as much again for the many pieces of a long stream, which quinn puts together.
    assert!(rise <= (streams * STREAM + AHEAD) * 3 / 2 + 2 * SLACK, "{rise} KiB");
}

/// A window of one stream, for those who keep to it, and what the window of a connection has room for
/// beside those of its streams.
const STREAM: u64 = 256 * KIB;
const AHEAD: u64 = 64 * STREAM;

/// What a gateway takes for a client that may have so many `calls`, and sends as much as it can in each.
/// Nobody reads that. It sends `first` KiB in each before it takes in some what is left by others. Gives
/// the number of its calls, and KiB.
async fn unread(calls: u32, first: u64) -> (u64, u64) {
    let streams = u64::from(calls + calls / 7 + 2);
    let siege = Siege::with_calls(calls).await;
    let node = Insider::node(siege.address, &siege.node_ticket, &[("hole", wire::UNARY)]).await;
    let insider = Insider::client(siege.address, &siege.client_ticket).await;
    let before = siege.settled().await;
    // Arguments that the node does not read: they stay at the gateway, in the windows.
    let begun = [wire::call("hole", wire::UNARY), wire::begun(wire::BODY, 64 << 20)].concat();
    let (mut filling, taken) = (Vec::new(), Arc::new(AtomicU64::new(0)));
    let (all_have_some, some) = watch::channel(false);
    for _ in 0..streams {
        let (mut send, recv) = insider.open(&begun).await;
        let (taken, mut some) = (taken.clone(), some.clone());
        let fill = async move {
            let mut own = 0;
            while let Ok(n) = send.write(&[0; 16 << 10]).await {
                own += n as u64 / 1_024;
                taken.fetch_add(n as u64 / 1_024, Ordering::Relaxed);
                if own >= first && first > 0 {
                    some.wait_for(|all| *all).await.unwrap();
                }
            }
        };
        filling.push((recv, tokio::spawn(fill)));
    }
    // What the gateway holds back: some of it the node has taken.
    until(|| taken.load(Ordering::Relaxed) >= streams * STREAM).await;
    all_have_some.send(true).unwrap();
    until(|| taken.load(Ordering::Relaxed) >= streams * (STREAM + 8 * KIB)).await;
    let rise = siege.settled().await.saturating_sub(before);
    for (_, filling) in filling {
        filling.abort();
    }
    drop(node);
    (streams, rise)
}
