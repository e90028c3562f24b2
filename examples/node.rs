//! The node of a program of three processes; see `gateway.rs`.
//!
//! It drains and ends on Ctrl-C or SIGTERM, and when no one has called for a minute (`-- 5`: for
//! 5 s).

use std::time::{Duration, Instant};

use easyremote::{Node, functions, remote};
use futures::{Stream, stream};

/// Counts the words of a text.
#[remote]
fn count_words(text: String) -> usize {
    text.split_whitespace().count()
}

/// Counts down to zero, one number per tenth of a second.
#[remote(stream)]
fn count_down(from: u32) -> impl Stream<Item = u32> {
    stream::unfold(Some(from), |left| async move {
        let left = left?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((left, left.checked_sub(1)))
    })
}

#[tokio::main]
async fn main() -> Result<(), easyremote::Error> {
    // On another machine, use the ticket for nodes that the gateway prints.
    let node = Node::serve("127.0.0.1:8080", functions![count_words, count_down]).await?;
    println!("{} is registered", node.id());
    tokio::select! {
        () = easyremote::shutdown_signal() => println!("draining"),
        () = nothing_to_do(&node) => println!("idle: no one calls"),
    }
    node.drain(Duration::from_secs(30)).await;
    Ok(())
}

/// Resolves when no one has called for a while.
async fn nothing_to_do(node: &Node) {
    let patience = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(60);
    let (mut last, mut calls) = (Instant::now(), 0);
    while last.elapsed() < Duration::from_secs(patience) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let stats = node.stats();
        if stats.in_flight > 0 || stats.calls != calls {
            (last, calls) = (Instant::now(), stats.calls);
        }
    }
}
