//! What the client of every party does when it is asked to; the same code for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::task::JoinSet;

use crate::rival::{Caller, Place, Rival, Wanted};

/// A client, and what it keeps open.
pub struct Client<R: Rival> {
    place: Place,
    caller: R::Caller,
    streams: Vec<BoxStream<'static, Result<Bytes>>>,
    connections: Vec<R::Caller>,
}

impl<R: Rival> Client<R> {
    pub async fn connect(place: Place) -> Result<Self> {
        let caller = R::connect(place.clone()).await?;
        Ok(Self { place, caller, streams: Vec::new(), connections: Vec::new() })
    }

    /// Answers with numbers:
    ///
    /// | question                | answer                                        |
    /// |-------------------------|-----------------------------------------------|
    /// | `latency MS`            | median and 99th percentile, microseconds      |
    /// | `calls MS FLIGHT BYTES` | calls, seconds                                |
    /// | `first N`               | median time to a first item, microseconds     |
    /// | `items N BYTES`         | seconds                                       |
    /// | `streams N`             | opens so many that stay; nothing of interest  |
    /// | `connections N`         | opens so many that stay; nothing of interest  |
    pub async fn answer(&mut self, question: &str) -> Result<String> {
        let mut words = question.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
        let number = |i: usize| numbers.get(i).copied().context("a number is missing");
        Ok(match kind {
            "latency" => latency(&self.caller, Duration::from_millis(number(0)?)).await?,
            "calls" => {
                let during = Duration::from_millis(number(0)?);
                calls(&self.caller, during, number(1)?, number(2)? as usize).await?
            }
            "first" if R::Caller::STREAMS => first(&self.caller, number(0)?).await?,
            "items" if R::Caller::STREAMS => items(&self.caller, number(0)?, number(1)?).await?,
            "streams" if R::Caller::STREAMS => self.open_streams(number(0)?).await?,
            "connections" => self.open_connections(number(0)?).await?,
            _ => String::new(),
        })
    }

    async fn open_streams(&mut self, n: u64) -> Result<String> {
        for _ in 0..n {
            let mut items = self.caller.items(Wanted { n: 1, length: 64, stays: true }).boxed();
            items.next().await.context("no first item")??;
            self.streams.push(items);
        }
        Ok(String::from("open"))
    }

    async fn open_connections(&mut self, n: u64) -> Result<String> {
        for _ in 0..n {
            let caller = R::connect(self.place.clone()).await?;
            caller.echo(Bytes::from_static(&[7; 64])).await?;
            self.connections.push(caller);
        }
        Ok(String::from("open"))
    }
}

async fn latency(caller: &impl Caller, during: Duration) -> Result<String> {
    let bytes = Bytes::from(vec![7; 64]);
    let end = Instant::now() + during;
    let mut times = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        caller.echo(bytes.clone()).await?;
        times.push(begun.elapsed());
    }
    Ok(format!("{} {}", percentile(&mut times, 50)?, percentile(&mut times, 99)?))
}

/// So many tasks, each with one call after the other.
async fn calls(
    caller: &impl Caller,
    during: Duration,
    in_flight: u64,
    length: usize,
) -> Result<String> {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..in_flight {
        let (caller, stop, done) = (caller.clone(), stop.clone(), done.clone());
        let bytes = Bytes::from(vec![7; length]);
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.echo(bytes.clone()).await?;
                ensure!(answer.len() == length, "the answer has another length");
                done.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
    }
    tokio::time::sleep(during).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(format!("{} {}", done.load(Ordering::Relaxed), begun.elapsed().as_secs_f64()))
}

async fn first(caller: &impl Caller, n: u64) -> Result<String> {
    let mut times = Vec::new();
    for _ in 0..n {
        let begun = Instant::now();
        let items = caller.items(Wanted { n: 1, length: 64, stays: false });
        let mut items = std::pin::pin!(items);
        items.next().await.context("no first item")??;
        times.push(begun.elapsed());
        ensure!(items.next().await.is_none(), "a second item");
    }
    percentile(&mut times, 50)
}

async fn items(caller: &impl Caller, n: u64, length: u64) -> Result<String> {
    let begun = Instant::now();
    let items = caller.items(Wanted { n, length, stays: false });
    let mut items = std::pin::pin!(items);
    let mut received = 0;
    while let Some(item) = items.next().await {
        ensure!(item?.len() as u64 == length, "the item has another length");
        received += 1;
    }
    ensure!(received == n, "{received} items of {n}");
    Ok(begun.elapsed().as_secs_f64().to_string())
}

/// In microseconds.
fn percentile(times: &mut [Duration], percent: usize) -> Result<String> {
    ensure!(!times.is_empty(), "nothing was measured");
    times.sort_unstable();
    Ok((times[times.len() * percent / 100].as_secs_f64() * 1e6).to_string())
}
