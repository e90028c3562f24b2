//! What the gateway says of itself, of nodes and of functions at one time.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use easyremote::client::{DurationHistogram, FunctionInfo, FunctionStats, NodeInfo, StreamStats};
use easyremote::gateway::GatewayStats;
use easyremote::{Client, Error, ErrorKind};
use serde_json::{Value, json};

/// One look at a gateway.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) at: Instant,
    pub(super) nodes: Vec<NodeInfo>,
    pub(super) functions: Vec<FunctionInfo>,
    /// `None` for a client that is no admin.
    pub(super) gateway: Option<GatewayStats>,
    /// By function; empty for a client that is no admin.
    pub(super) figures: HashMap<String, FunctionStats>,
    /// The open streams; empty for a client that is no admin.
    pub(super) streams: Vec<StreamStats>,
}

impl Reading {
    /// Asks the gateway.
    pub(super) async fn take(client: &Client) -> Result<Self, Error> {
        let gateway = match client.gateway_stats().await {
            Ok(stats) => Some(stats),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            Err(error) => return Err(error),
        };
        let figures = if_told(client.function_stats().await)?;
        let streams = if_told(client.stream_stats().await)?;
        let figures = figures.into_iter().map(|stats| (stats.function.clone(), stats)).collect();
        let (nodes, functions) = (client.nodes().await?, client.functions().await?);
        Ok(Self { at: Instant::now(), nodes, functions, gateway, figures, streams })
    }

    /// The reading as a document, without schemas.
    pub(super) fn to_json(&self) -> Value {
        let functions = self.functions.iter().map(|function| {
            let figures = self.figures.get(&function.name);
            json!({
                "name": function.name,
                "kind": function.kind,
                "nodes": function.nodes,
                "figures": figures.map(figures_as_json),
            })
        });
        json!({
            "gateway": self.gateway,
            "nodes": self.nodes,
            "functions": functions.collect::<Vec<_>>(),
            "streams": self.streams,
        })
    }

    /// Calls that nodes run or have in their queues.
    pub(super) fn running(&self) -> u64 {
        self.nodes.iter().map(|node| node.in_flight).sum()
    }
}

/// Returns a list, or an empty one if it is not for this client, or not known to an older gateway.
fn if_told<T>(list: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    use ErrorKind::{NoSuchFunction, PermissionDenied};
    match list {
        Err(error) if matches!(error.kind(), PermissionDenied | NoSuchFunction) => Ok(Vec::new()),
        told => told,
    }
}

/// The figures of a function as JSON; times in microseconds.
fn figures_as_json(stats: &FunctionStats) -> Value {
    let micros = |time: Option<Duration>| time.map(|time| time.as_micros() as u64);
    let times = |times: &DurationHistogram| {
        json!({
            "count": times.count(),
            "sum_us": times.sum().as_micros() as u64,
            "p50_us": micros(times.quantile(0.5)),
            "p99_us": micros(times.quantile(0.99)),
        })
    };
    let errors = stats.errors.iter().map(|(kind, n)| (format!("{kind:?}"), json!(n)));
    json!({
        "in_flight": stats.in_flight,
        "waiting": stats.waiting,
        "returned": stats.returned,
        "faults": stats.faults,
        "errors": errors.collect::<serde_json::Map<_, _>>(),
        "queued": times(&stats.queued),
        "ran": times(&stats.ran),
        "items": stats.items,
        "bytes": stats.bytes,
        "skipped": stats.skipped,
    })
}

/// Calls that did not return what they should: faults of the function and errors.
pub(super) fn failed(stats: &FunctionStats) -> u64 {
    stats.ended().saturating_sub(stats.returned)
}

/// What changes between two readings: calls per second, at the gateway and by function, and items
/// per second of each stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) calls: Option<f64>,
    pub(super) functions: HashMap<String, f64>,
    pub(super) streams: HashMap<u64, f64>,
}

/// The last reading, as far as rates need it.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, u64)>,
    ended: HashMap<String, u64>,
    items: HashMap<u64, u64>,
}

impl Rates {
    /// What has changed since the last reading; nothing at the first one.
    pub(super) fn changes(&mut self, reading: &Reading) -> Changes {
        let calls = reading.gateway.map_or(0, |stats| stats.calls);
        let last = self.last.replace((reading.at, calls));
        let ended = reading.figures.iter().map(|(name, stats)| (name.clone(), stats.ended()));
        let ended_before = std::mem::replace(&mut self.ended, ended.collect());
        let items = reading.streams.iter().map(|stream| (stream.number, stream.items));
        let items_before = std::mem::replace(&mut self.items, items.collect());
        let Some((at, before)) = last else { return Changes::default() };
        let seconds = reading.at.duration_since(at).as_secs_f64();
        if seconds <= 0.0 {
            return Changes::default();
        }
        // A gateway that was restarted begins at 0.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let functions = self.ended.iter().map(|(name, now)| {
            (name.clone(), rate(*now, ended_before.get(name).copied().unwrap_or(0)))
        });
        // A stream that is new has no rate yet.
        let streams = self
            .items
            .iter()
            .filter_map(|(number, now)| Some((*number, rate(*now, *items_before.get(number)?))));
        Changes {
            streams: streams.collect(),
            calls: reading.gateway.map(|_| rate(calls, before)),
            functions: functions.collect(),
        }
    }
}
