//! A pool of machines: one function, many arguments, all nodes that offer it.
//!
//! Four workers of different speed search for prime numbers. `map` keeps all of them busy, even
//! when one is drained for maintenance in the middle of the work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use easyremote::{Client, Context, Error, Gateway, Node, Strategy, functions, remote};
use futures::TryStreamExt;

/// Numbers in one piece of work.
const PIECE: u64 = 20_000;

/// Counts the primes from `start` on. Returns the count and the node that has computed it.
#[remote]
fn count_primes(#[ctx] ctx: &Context, start: u64) -> (u64, String) {
    let primes = (start..start + PIECE).filter(|&n| is_prime(n)).count() as u64;
    (primes, ctx.node().to_owned())
}

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let mut workers = Vec::new();
    for (name, places) in [("small", 1), ("medium", 2), ("large", 4), ("spare", 4)] {
        // The gateway distributes calls in proportion to the nodes' concurrency.
        let node = Node::builder(address).id(name).concurrency(places);
        workers.push(node.functions(functions![count_primes]).serve().await?);
    }
    let client = Client::connect(address).await?;

    let started = Instant::now();
    let pieces = (0..1_000_000).step_by(PIECE as usize);
    // A sum needs no order, so no result waits for a slower one.
    let mut counted = count_primes::map(&client, pieces).concurrency(11).unordered();
    let (mut primes, mut shares) = (0, BTreeMap::<String, u64>::new());
    while let Some((found, node)) = counted.try_next().await? {
        primes += found;
        *shares.entry(node).or_default() += 1;
        if shares.values().sum::<u64>() == 10 {
            let spare = workers.pop().expect("there are four");
            // It finishes its running calls; no call fails, and the other nodes do the rest.
            tokio::spawn(async move { spare.drain(Duration::from_secs(30)).await });
        }
    }
    println!("{primes} primes below a million, in {:?}", started.elapsed());
    for (node, pieces) in &shares {
        println!("{node:>8}: {pieces} pieces of work");
    }
    assert_eq!(primes, 78_498, "OEIS A006880");
    assert_eq!(shares.values().sum::<u64>(), 50);

    // Single calls can choose a strategy: here round robin.
    for start in [0, PIECE, 2 * PIECE] {
        let call = count_primes::call(&client, start).strategy(Strategy::RoundRobin);
        let ((primes, _), trace) = call.traced().await?;
        println!("{primes} primes from {start} on: {} in {:?}", trace.node, trace.ran);
    }
    Ok(())
}
