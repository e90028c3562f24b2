//! Batch functions: callers that come together share a run, and each has an outcome of its own.

use std::sync::{Arc, Mutex};

use common::gate::pass_blocking;
use common::{World, soon, until};
use easyremote::node::{Functions, NodeBuilder};
use easyremote::{Client, Node, remote};

mod leaving;
mod model;
mod outcomes;
mod shapes;

/// What the runs of a node have been given.
#[derive(Default)]
struct Runs(Mutex<Vec<Vec<u64>>>);

impl Runs {
    fn note(&self, run: &[u64]) {
        self.0.lock().unwrap().push(run.to_vec());
    }

    fn all(&self) -> Vec<Vec<u64>> {
        self.0.lock().unwrap().clone()
    }

    fn sizes(&self) -> Vec<usize> {
        self.0.lock().unwrap().iter().map(Vec::len).collect()
    }

    /// Waits until so many runs have begun.
    async fn begun(&self, n: usize) {
        until(|| self.0.lock().unwrap().len() >= n).await;
    }
}

/// Waits at the gate of its first element.
#[remote(batch(max = 32, wait = "5ms"), concurrency = 1)]
fn double(#[state] runs: &Runs, numbers: Vec<u64>, gates: Vec<u64>) -> Vec<u64> {
    runs.note(&numbers);
    pass_blocking(gates[0]);
    numbers.iter().map(|n| 2 * n).collect()
}

/// Leaves when there are two, or not at all.
#[remote(batch(max = 2, wait = "3600s"), concurrency = 1)]
fn pair(#[state] runs: &Runs, numbers: Vec<u64>, gates: Vec<u64>) -> Vec<u64> {
    runs.note(&numbers);
    pass_blocking(gates[0]);
    numbers.iter().map(|n| 2 * n).collect()
}

/// A node and a client, and what the node has run.
struct Stage {
    _world: World,
    node: Node,
    client: Client,
    runs: Arc<Runs>,
}

impl Stage {
    async fn new(functions: Functions) -> Self {
        Self::with(|node| node.functions(functions)).await
    }

    async fn with(set: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Self {
        let world = World::start().await;
        let runs = Arc::new(Runs::default());
        let node = set(world.node_builder()).shared_state(runs.clone());
        let node = soon(node.serve()).await.unwrap();
        let client = world.client().await;
        Self { _world: world, node, client, runs }
    }

    /// Waits until so many calls wait at the node.
    async fn waits(&self, n: u64) {
        until(|| self.node.stats().waiting == n).await;
    }
}
