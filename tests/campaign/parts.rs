//! Calls that belong together: several with one key or in batches, and one at every node.

use std::time::Duration;

use easyremote::Error;
use fastrand::Rng;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep;

use crate::calls::{Caller, Outcome, Part, Plan, Seen, value};
use crate::functions::{batched, everywhere, keyed};

/// Several callers, of two programs, with one key. The first one is counted.
pub(crate) async fn share_key(plan: &Plan, caller: &Caller, seen: &mut Seen) -> Outcome {
    let mut rng = Rng::with_seed(plan.id);
    let other = caller.other.with(plan.options.clone());
    let mut calls = FuturesUnordered::new();
    for n in 0..rng.u32(1..5) {
        let client = if n == 0 { &caller.client } else { &other };
        let later = Duration::from_millis(rng.u64(..200));
        let call = keyed::call(client, plan.id, plan.size).key(format!("key {}", plan.id));
        calls.push(async move {
            if n > 0 {
                sleep(later).await;
            }
            call.await
        });
    }
    while let Some(answer) = calls.next().await {
        seen.parts.push(of_key(answer, plan.id));
    }
    Outcome::Answered
}

fn of_key(answer: Result<(u64, u64), Error>, id: u64) -> Part {
    let run = answer.as_ref().ok().map(|(_, run)| *run);
    Part { outcome: value(answer.map(|(of, _)| of), id), node: None, run }
}

/// Several calls at once of two programs, some of which run together. The first one is counted.
pub(crate) async fn share_batch(plan: &Plan, caller: &Caller, seen: &mut Seen) -> Outcome {
    let other = caller.other.with(plan.options.clone());
    let mut calls: FuturesUnordered<_> = (0..Rng::with_seed(plan.id).u64(1..MAX_CALLS))
        .map(|n| {
            let client = if n == 0 { &caller.client } else { &other };
            let call = batched::call(client, plan.id, n);
            async move { (n, call.await) }
        })
        .collect();
    while let Some((n, answer)) = calls.next().await {
        let outcome = value(answer, (plan.id, n));
        seen.parts.push(Part { outcome, node: None, run: Some(n) });
    }
    Outcome::Answered
}

/// Calls of a batch function that are made at once: enough for some to meet, at each node.
const MAX_CALLS: u64 = 12;

/// A call at every node, of the program whose calls are not counted.
pub(crate) async fn call_all(plan: &Plan, caller: &Caller, seen: &mut Seen) -> Outcome {
    let client = caller.other.with(plan.options.clone());
    let mut results = everywhere::call(&client, plan.id, plan.size).on_all();
    while let Some((node, result)) = results.next().await {
        let number = node_number(&node);
        if number.is_none() && !node.is_empty() {
            return Outcome::Wrong(format!("`{node}` is no node"));
        }
        let outcome = value(result, (plan.id, node));
        seen.parts.push(Part { outcome, node: number, run: None });
    }
    Outcome::Answered
}

/// The number in the id of a node.
pub(crate) fn node_number(id: &str) -> Option<usize> {
    id.strip_prefix("node-")?.parse().ok()
}
