//! What the gateway says of itself, of nodes and of functions at one time.

use std::time::Instant;

use easyremote::client::{FunctionInfo, NodeInfo};
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
}

impl Reading {
    /// Asks the gateway.
    pub(super) async fn take(client: &Client) -> Result<Self, Error> {
        let gateway = match client.gateway_stats().await {
            Ok(stats) => Some(stats),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            Err(error) => return Err(error),
        };
        let (nodes, functions) = (client.nodes().await?, client.functions().await?);
        Ok(Self { at: Instant::now(), nodes, functions, gateway })
    }

    /// The reading as a document, without schemas.
    pub(super) fn to_json(&self) -> Value {
        let functions = self.functions.iter().map(|function| {
            json!({ "name": function.name, "kind": function.kind, "nodes": function.nodes })
        });
        json!({
            "gateway": self.gateway,
            "nodes": self.nodes,
            "functions": functions.collect::<Vec<_>>(),
        })
    }

    /// Calls that nodes run or have in their queues.
    pub(super) fn running(&self) -> u64 {
        self.nodes.iter().map(|node| node.in_flight).sum()
    }
}

/// What changes between two readings.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, u64)>,
}

impl Rates {
    /// Calls per second since the last reading; `None` for the first one.
    pub(super) fn calls(&mut self, reading: &Reading) -> Option<f64> {
        let calls = reading.gateway?.calls;
        let (at, before) = self.last.replace((reading.at, calls))?;
        let seconds = reading.at.duration_since(at).as_secs_f64();
        // A gateway that was restarted begins at 0.
        (seconds > 0.0).then(|| calls.saturating_sub(before) as f64 / seconds)
    }
}
