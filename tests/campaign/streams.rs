//! Streams of a campaign: read to their end, with and without operators.

use std::time::Duration;

use easyremote::{Client, Error};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::time::sleep;

use crate::calls::{Kind, Outcome, Plan, Seen};
use crate::chain::{Last, Operator};
use crate::functions::{kept, no_multiple, resumed, steps, ticks};

type Item = (u64, u64);

/// Reads a stream to its end.
pub(crate) async fn read(
    stream: impl Stream<Item = Result<Item, Error>>,
    id: u64,
    seen: &mut Seen,
) -> Outcome {
    read_lists(stream.map_ok(|item| vec![item]), id, false, seen).await
}

/// How long a batch waits until it is full.
const WAIT: Duration = Duration::from_millis(5);

/// Sets the operators of a plan on a call, and reads it to its end.
macro_rules! read_call {
    ($call:expr, $plan:expr, $seen:expr) => {{
        let mut call = $call;
        if matches!($plan.kind, Kind::Kept | Kind::Resumed) {
            call = call.resumable();
        }
        let progress = call.progress();
        for operator in &$plan.chain.operators {
            call = match *operator {
                Operator::Skip(n) => call.skip(n),
                Operator::Every(n) => call.every(n),
                Operator::Take(n) => call.take(n),
                Operator::Dedup => call.dedup(),
                Operator::Through(of) => call.through(no_multiple::with(of)),
            };
        }
        let id = $plan.id;
        let outcome = match $plan.chain.last {
            Last::All => read(call, id, $seen).await,
            Last::Batches(most) => read_lists(call.batches(most, WAIT), id, true, $seen).await,
            Last::Latest => read(call.latest(), id, $seen).await,
            Last::Sample(every) => read(call.sample(every), id, $seen).await,
        };
        $seen.resumptions = progress.resumptions();
        outcome
    }};
}

/// Reads a stream with the operators of its plan.
pub(crate) async fn read_chained(plan: &Plan, client: &Client, seen: &mut Seen) -> Outcome {
    let (id, size) = (plan.id, plan.size);
    match plan.kind {
        Kind::Steps => read_call!(steps::call(client, id, size), plan, seen),
        Kind::Ticks => read_call!(ticks::call(client, id, size), plan, seen),
        Kind::Kept => read_call!(kept::call(client, id, size), plan, seen),
        Kind::Resumed => read_call!(resumed::call(client, id, size), plan, seen),
        other => panic!("{other:?} has no operators"),
    }
}

/// Notes what a stream gives, and whether that belongs to this call. The checker judges the rest.
async fn read_lists(
    stream: impl Stream<Item = Result<Vec<Item>, Error>>,
    id: u64,
    is_batched: bool,
    seen: &mut Seen,
) -> Outcome {
    let mut stream = std::pin::pin!(stream);
    let outcome = loop {
        match stream.next().await {
            Some(Ok(list)) => {
                if let Some(item) = list.iter().find(|item| item.0 != id) {
                    return Outcome::Wrong(format!("{item:?} is not an item of {id}"));
                }
                seen.items.extend(list.iter().map(|item| item.1));
                if is_batched {
                    seen.lists.push(list.len());
                }
                // Now and then the reader is slower than the function.
                if seen.items.len() % 32 == 31 {
                    sleep(Duration::from_millis(20)).await;
                }
            }
            Some(Err(error)) => break Outcome::failed(&error),
            None => break Outcome::Answered,
        }
    };
    match stream.next().await {
        None => outcome,
        Some(more) => Outcome::Wrong(format!("{more:?} after {outcome:?}")),
    }
}
