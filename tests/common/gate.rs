//! Gates at which functions wait, on a thread or as a future, until a test lets them go on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex};

use easyremote::node::NodeBuilder;
use easyremote::{Error, Node};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use crate::soon;

/// The threads that functions may block, other than those on which a test waits for them.
static NODES: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(24).enable_all().build().unwrap());

static GATES: LazyLock<Mutex<HashMap<u64, watch::Receiver<bool>>>> = LazyLock::new(Mutex::default);

/// No gate has this key: functions pass.
pub const OPEN: u64 = u64::MAX;

/// Opens when it is dropped, so that a test that fails leaves no thread blocked.
pub struct Gate {
    pub key: u64,
    open: watch::Sender<bool>,
}

impl Gate {
    pub fn closed() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        let (open, gate) = watch::channel(false);
        GATES.lock().unwrap().insert(key, gate);
        Self { key, open }
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.open();
    }
}

/// Waits until the gate with this key is open.
pub async fn pass(key: u64) {
    let gate = GATES.lock().unwrap().get(&key).cloned();
    if let Some(mut gate) = gate {
        // A gate that is gone has been opened.
        let _ = gate.wait_for(|open| *open).await;
    }
}

/// The same on the thread that asks, which is blocked meanwhile.
pub fn pass_blocking(key: u64) {
    futures::executor::block_on(pass(key));
}

/// Starts a node whose functions run on separate threads, which they may block.
pub async fn serve(node: NodeBuilder) -> Result<Node, Error> {
    soon(NODES.spawn(node.serve())).await.unwrap()
}
