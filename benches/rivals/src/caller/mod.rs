//! What the client of every party does when it is asked to; the same code for all.

mod calls;
mod connections;
mod latency;
mod open;
mod streams;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::stream::BoxStream;

use self::latency::Bulk;
use crate::rival::{Caller, Function, Place, Rival};

pub use self::connections::call_once;

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

    /// Answers with numbers, or with nothing if the party does not have what is asked for:
    ///
    /// | question                | answer                                                    |
    /// |-------------------------|-----------------------------------------------------------|
    /// | `latency MS`            | median and 99th percentile, microseconds                  |
    /// | `open MS RATE`          | the same from when calls were due, and how late they      |
    /// |                         | began, 99th percentile, microseconds                      |
    /// | `beside-items MS BYTES` | 99th percentile of calls, microseconds; bytes a second    |
    /// | `beside-calls MS BYTES` | the same                                                  |
    /// | `calls MS FLIGHT BYTES` | calls, seconds                                            |
    /// | `async MS FLIGHT`       | the same, if functions of several kinds are told apart    |
    /// | `sync MS FLIGHT`        | the same                                                  |
    /// | `inline MS FLIGHT`      | the same                                                  |
    /// | `each MS`               | the same, by one call after the other on each connection  |
    /// | `first N`               | median time to a first item, microseconds                 |
    /// | `items N BYTES`         | seconds                                                   |
    /// | `streams N`             | opens so many that stay; their number                     |
    /// | `connections N`         | opens so many that stay, with a call each; their number   |
    /// | `storm N`               | the same, all at once; milliseconds                       |
    pub async fn answer(&mut self, question: &str) -> Result<String> {
        let mut words = question.split(' ');
        let kind = words.next().unwrap_or_default();
        let numbers: Vec<u64> = words.map(str::parse).collect::<Result<_, _>>()?;
        let number = |i: usize| numbers.get(i).copied().context("a number is missing");
        let during = || number(0).map(Duration::from_millis);
        let caller = &self.caller;
        Ok(match kind {
            "latency" => latency::alone(caller, during()?).await?,
            "open" => open::calls(caller, during()?, number(1)?).await?,
            "beside-items" if !R::Caller::STREAMS => String::new(),
            "beside-items" => latency::beside(caller, during()?, Bulk::Items(number(1)?)).await?,
            "beside-calls" => latency::beside(caller, during()?, Bulk::Calls(number(1)?)).await?,
            "calls" => {
                let callers = vec![caller.clone(); number(1)? as usize];
                calls::during(callers, Function::Async, during()?, number(2)? as usize).await?
            }
            "async" | "sync" | "inline" if !R::Caller::FUNCTIONS => String::new(),
            "async" | "sync" | "inline" => {
                let callers = vec![caller.clone(); number(1)? as usize];
                calls::during(callers, function(kind), during()?, 64).await?
            }
            "each" => {
                calls::during(self.connections.clone(), Function::Async, during()?, 64).await?
            }
            "first" | "items" | "streams" if !R::Caller::STREAMS => String::new(),
            "first" => streams::first(caller, number(0)?).await?,
            "items" => streams::items(caller, number(0)?, number(1)?).await?,
            "streams" => self.open_streams(number(0)?).await?,
            "connections" => self.open_connections(number(0)?).await?,
            "storm" => self.storm(number(0)?).await?,
            kind => bail!("there is no question `{kind}`"),
        })
    }
}

fn function(kind: &str) -> Function {
    match kind {
        "sync" => Function::Sync,
        "inline" => Function::Inline,
        _ => Function::Async,
    }
}
