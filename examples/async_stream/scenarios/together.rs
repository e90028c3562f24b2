//! Calls and streams at the same time.

use std::time::{Duration, Instant};

use easyremote::Client;
use futures::future::try_join_all;
use futures::{StreamExt, TryStreamExt};

use crate::Failure;
use crate::functions::endless::endless_iterator;
use crate::functions::numbers::{async_computation, sync_add, sync_number_stream};
use crate::functions::sensors::{SensorConfig, async_data_stream};
use crate::functions::text::async_ai_simulation;
use crate::scenarios::received::Received;
use crate::scenarios::{Outcome, Seen, ensure};

/// Duration of a call, in seconds.
const DELAY: f64 = 0.2;
/// Iterators that block their threads at the same time.
const BLOCKING: usize = 16;

/// Async calls overlap, and sync functions that block their threads do not hold them up.
pub(super) async fn overlap(client: Client) -> Outcome {
    const CALLS: i64 = 5;
    let started = Instant::now();
    let calls = (0..CALLS).map(|n| async_computation::call(&client, vec![n], DELAY));
    let answers = try_join_all(calls).await?;
    let total = started.elapsed();
    let each = answers.iter().map(|answer| Duration::from_secs_f64(answer.processing_time));
    let one_by_one: Duration = each.sum();
    ensure!(total < one_by_one, "calls that take {one_by_one:.1?} in all took {total:.1?} at once");

    // Usually more than a node has processors, all of them sleeping.
    let mut blocking: Vec<_> =
        (0..BLOCKING).map(|_| endless_iterator::call(&client, 0.2)).collect();
    try_join_all(blocking.iter_mut().map(StreamExt::next).map(|item| async {
        item.await.ok_or("an endless iterator has ended")?.map_err(Failure::from)
    }))
    .await?;
    // They never end: if calls had to wait for them, these would never return.
    async_computation::call(&client, vec![1], DELAY).await?;
    sync_add::call(&client, 1, 2).await?;
    let note = format!("{CALLS} calls in {total:.1?} instead of {one_by_one:.1?}");
    Ok(Seen::note(note))
}

/// Many concurrent calls take about as long as one.
pub(super) async fn concurrent(client: Client) -> Outcome {
    const CALLS: i64 = 32;
    const DELAY: Duration = Duration::from_millis(500);
    let started = Instant::now();
    let calls = (0..CALLS).map(|n| async_computation::call(&client, vec![n], DELAY.as_secs_f64()));
    let answers = try_join_all(calls).await?;
    let total = started.elapsed();
    for (n, answer) in (0..).zip(answers) {
        ensure!(answer.sum == n, "call {n} got the answer of another: {answer:?}");
    }
    ensure!(total >= DELAY, "the calls took only {total:.1?}");
    ensure!(total < 8 * DELAY, "{CALLS} calls of {DELAY:?} took {total:.1?}");
    Ok(Seen::note(format!("{CALLS} calls of {DELAY:?} in {total:.1?}")))
}

/// Streams and calls do not hold up each other.
pub(super) async fn mixed(client: Client) -> Outcome {
    let interval = 0.1;
    let numbers = Received::all(sync_number_stream::call(&client, 1, 8, interval));
    let config =
        SensorConfig { sample_rate: 1.0 / interval, duration: 0.8, ..SensorConfig::default() };
    let samples = Received::all(async_data_stream::call(&client, config));
    let started = Instant::now();
    let calls = async {
        // One after the other, so that they spread over the duration of the streams.
        let calls = futures::stream::iter(0..20).then(|n| {
            let client = &client;
            async move {
                let sum = sync_add::call(client, n, n).await?;
                let text = format!("a good day, the {n}th");
                let found = async_ai_simulation::call(client, text, 0.01).await?;
                let right = sum == 2 * n && found.word_count == 5;
                Ok::<_, easyremote::Error>((right, started.elapsed()))
            }
        });
        calls.try_collect::<Vec<_>>().await
    };
    let (numbers, samples, calls) = futures::join!(numbers, samples, calls);
    let (numbers, samples, calls) = (numbers.ok()?, samples.ok()?, calls?);
    ensure!(numbers.items.len() == 8 && samples.items.len() == 8, "items are missing");
    ensure!(calls.iter().all(|(right, _)| *right), "a call got the answer of another");
    numbers.ensure_live(|item| item.timestamp)?;
    samples.ensure_live(|sample| sample.timestamp)?;
    let last = numbers.last_arrival().min(samples.last_arrival()).unwrap_or_default();
    let meanwhile = calls.iter().filter(|(_, ended)| *ended < last).count();
    ensure!(meanwhile > 0, "the calls had to wait for the streams");
    let order_kept = numbers.seen(|item| item.number.unsigned_abs()).order_kept == Some(true)
        && samples.seen(|sample| sample.sample_id).order_kept == Some(true);
    Ok(Seen {
        first_item: numbers.first_arrival().max(samples.first_arrival()),
        order_kept: Some(order_kept),
        note: format!("2 streams; {meanwhile} of 20 calls during them"),
    })
}
