//! Families of calls, functions and faults: what holds for one of them holds for each, on lanes and on
//! streams of their own, typed and by name.
//!
//! With `KINDS_LONG=1` the runs that need time to show something are as long as those in which it
//! was seen first.

mod clock;
mod deadlines;
mod ended;
mod failing;
mod gate;
mod gateways;
mod given_up;
mod loss;
mod missed;
mod outage;
mod places;
mod revoked;
mod traced;
mod update;
mod waiting;

use std::sync::LazyLock;

use easyremote::node::NodeBuilder;
use easyremote::{Error, Node};
use tokio::runtime::{Builder, Runtime};

/// The threads that functions may block, other than those on which a test waits for them.
static NODES: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_multi_thread().worker_threads(24).enable_all().build().unwrap());

/// Starts a node whose functions run on threads of their own.
async fn serve(node: NodeBuilder) -> Result<Node, Error> {
    common::soon(NODES.spawn(node.serve())).await.unwrap()
}

/// Whether this is the run that takes as long as it has to.
fn long() -> bool {
    std::env::var_os("KINDS_LONG").is_some_and(|long| long == "1")
}
