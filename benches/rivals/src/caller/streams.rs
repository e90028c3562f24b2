//! Items of streams.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;

use super::Client;
use super::latency::percentile;
use crate::rival::{Caller, Rival, Wanted};

pub async fn first(caller: &impl Caller, n: u64) -> Result<String> {
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

pub async fn items(caller: &impl Caller, n: u64, length: u64) -> Result<String> {
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

impl<R: Rival> Client<R> {
    pub async fn open_streams(&mut self, n: u64) -> Result<String> {
        for _ in 0..n {
            let mut items = self.caller.items(Wanted { n: 1, length: 64, stays: true }).boxed();
            items.next().await.context("no first item")??;
            self.streams.push(items);
        }
        Ok(self.streams.len().to_string())
    }
}
