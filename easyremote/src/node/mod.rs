//! The node: offers functions to gateways and runs them.
//!
//! Start a [`Node`] with [`Node::serve`], or with a [`NodeBuilder`] to set options. A node dials
//! out to its gateways and needs no open port.

mod builder;
mod exec;
mod kept;
mod limits;
mod load;
#[cfg(feature = "metrics")]
mod metrics;
mod middleware;
mod session;
mod state;
mod stats;
mod tags;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::node::state::NodeState;
use crate::transport::auth::address::IntoGateways;
use crate::transport::dial::Dialler;
use crate::transport::io;
use crate::transport::io::farewell::GoodbyeGuard;
use crate::transport::io::role::IoRole;
use crate::wire::limits::MAX_TIMEOUT;

pub use crate::call::batch_meter::{BatchReason, BatchStats};
pub use crate::call::function_meter::FunctionStats;
pub use crate::call::histogram::DurationHistogram;
#[cfg(feature = "metrics")]
pub use crate::exposition::MetricsFormat;
pub use crate::function::context::Context;
pub use crate::function::end::End;
pub use crate::function::registry::Functions;
pub use crate::node::builder::NodeBuilder;
pub use crate::node::exec::runs::LostJob;
pub use crate::node::limits::NodeLimits;
pub use crate::node::middleware::{Done, Next};
pub use crate::node::stats::NodeStats;
pub use crate::transport::io::Io;
pub use crate::transport::stream_table::StreamStats;
pub use crate::wire::job::{JobId, JobState};
pub use crate::wire::trace_context::TraceContext;

/// A running node: offers functions to its gateways and runs the calls that they route to it.
///
/// I/O and functions run on the tokio runtime that the node was started from, and the node ends when
/// that runtime does. While the runtime is blocked, a separate thread does the I/O; see [`Io`]. (A current-thread runtime runs functions only
/// while something is driven on it with `block_on`.) If the connection to a gateway breaks, the
/// node dials again until it is shut down.
///
/// Dropping the handle shuts the node down. The drop notifies the gateways, even if the program
/// exits right after it; it usually takes well below a millisecond, and at most 100 ms.
///
/// ```
/// # use easyremote::{Client, Error, Gateway};
/// use easyremote::{Node, functions, remote};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let address = gateway.local_addr();
/// let node = Node::serve(address, functions![add]).await?;
/// # let client = Client::connect(address).await?;
/// assert_eq!(add::call(&client, 1, 2).await?, 3);
/// node.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[doc(alias = "worker")]
#[doc(alias = "server")]
#[doc(alias = "executor")]
pub struct Node {
    io: IoRole,
    shared: Arc<NodeState>,
}

impl Node {
    /// Offers `functions` at `gateway`, with default options. The node is registered when this
    /// returns.
    ///
    /// The gateway may start later than the node: the node dials it for up to 15 s.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway};
    /// use easyremote::{Node, functions, remote};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::serve(address, functions![add]).await?;
    /// assert_eq!(node.stats().gateways, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`Unavailable`](crate::ErrorKind::Unavailable) if no gateway can be reached in time.
    /// - [`Unauthenticated`](crate::ErrorKind::Unauthenticated) or
    ///   [`PermissionDenied`](crate::ErrorKind::PermissionDenied) if the gateway refuses the node.
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput) if the address, the id, a tag or a limit
    ///   is invalid, if two functions have the same name, or if a function needs a state or a
    ///   receiver that the node does not have.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// If called outside of a tokio runtime: the functions run on the runtime that this is called
    /// from.
    #[doc(alias = "register")]
    #[doc(alias = "start")]
    #[doc(alias = "connect")]
    pub async fn serve(gateway: impl IntoGateways, functions: Functions) -> Result<Self, Error> {
        Self::builder(gateway).functions(functions).serve().await
    }

    /// Returns a builder for a node that registers at `gateway`, or at each of several gateways.
    ///
    /// ```
    /// use easyremote::Node;
    ///
    /// let one = Node::builder("gateway.example:8080").id("gpu-1").tag("gpu");
    /// let two = Node::builder(["10.0.0.1:8080", "10.0.0.2:8080"]);
    /// # let _ = (one, two);
    /// ```
    #[doc(alias = "options")]
    pub fn builder(gateway: impl IntoGateways) -> NodeBuilder {
        NodeBuilder::new(gateway.into_gateways())
    }

    /// Returns the node's id: the [configured](NodeBuilder::id) one, or a random `node-0123abcd`.
    ///
    /// ```
    /// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// # let node = Node::serve(address, functions![add]).await?;
    /// # let client = Client::connect(address).await?;
    /// let sum = add::call(&client, 1, 2).on(node.id()).await?; // run it on this node
    /// # assert_eq!(sum, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "name")]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// Returns the node's current tags.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::builder(address).tag("gpu").functions(functions![add]).serve().await?;
    /// assert_eq!(node.tags(), ["gpu"]);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "labels")]
    pub fn tags(&self) -> Vec<String> {
        self.shared.tags.now()
    }

    /// Replaces the node's tags: at most 64 tags of 1 to 128 bytes.
    ///
    /// When this returns, the tags are in effect at every gateway that the node is registered at:
    ///
    /// - New calls, and calls that wait at the gateway, are routed by the new tags.
    /// - A waiting call that the node can run now comes to it.
    /// - A waiting call that no node can run any more fails with
    ///   [`NoNode`](crate::ErrorKind::NoNode), [`Executed::No`](crate::Executed::No), unless it has
    ///   [`wait_for_node`](crate::Call::wait_for_node).
    /// - Calls that are at the node already stay there.
    ///
    /// A gateway that is disconnected learns the tags when the node registers there again.
    ///
    /// A function that [needs](macro@crate::remote) a tag that the node lacks stays registered but
    /// receives no calls, as when the node starts without the tag.
    ///
    /// ```
    /// # async fn example(node: easyremote::Node) -> Result<(), easyremote::Error> {
    /// let mut tags = node.tags();
    /// tags.push("warm".to_owned());
    /// node.set_tags(tags).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if there are too many tags, or if a tag is
    /// empty, too long, or contains control or invisible characters. The tags are then unchanged.
    ///
    /// # Cancel safety
    /// The first poll sets the tags. The gateways are notified even if the future is dropped then.
    #[doc(alias = "labels")]
    pub async fn set_tags<T: Into<String>>(
        &self,
        tags: impl IntoIterator<Item = T>,
    ) -> Result<(), Error> {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        tags::check(&tags)?;
        self.shared.warn_of_needs(&tags);
        self.shared.tags.set(tags).await;
        Ok(())
    }

    /// Reports a figure that the program measures, such as free memory of a device, as the node's
    /// gauge of this name.
    ///
    /// The last value counts. The gateways learn it with the next load report, which leaves every two
    /// seconds; [`NodeInfo::gauges`](crate::gateway::NodeInfo::gauges) has it at the gateway and at
    /// clients, and a gateway that is restarted learns it again. A gauge stays until it is
    /// [removed](Self::unreport). Does no I/O. Functions report with
    /// [`Context::report`](crate::Context::report).
    ///
    /// A name has 1 to 64 of `A-Z a-z 0-9 _`, and does not begin with a digit. A node has at most 32
    /// gauges.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// node.report("vram_free", 12.5)?;
    /// assert_eq!(node.gauges()["vram_free"], 12.5);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) if the name is invalid, the value is infinite
    /// or not a number, or the node has 32 other gauges. Nothing is changed then.
    #[doc(alias = "gauge")]
    #[doc(alias = "metrics")]
    pub fn report(&self, gauge: &str, value: f64) -> Result<(), Error> {
        self.shared.states.gauges.set(gauge, value)
    }

    /// Removes a gauge that was [reported](Self::report); returns whether there was one.
    ///
    /// ```
    /// # fn example(node: easyremote::Node) {
    /// node.unreport("vram_free");
    /// # }
    /// ```
    #[doc(alias = "metrics")]
    pub fn unreport(&self, gauge: &str) -> bool {
        self.shared.states.gauges.remove(gauge)
    }

    /// Returns the gauges that were [reported](Self::report), by name.
    ///
    /// ```
    /// # fn example(node: easyremote::Node) {
    /// for (gauge, value) in node.gauges() {
    ///     println!("{gauge}: {value}");
    /// }
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "metrics")]
    pub fn gauges(&self) -> BTreeMap<String, f64> {
        self.shared.states.gauges.now()
    }

    /// Returns the node's gauges and counters.
    ///
    /// ```
    /// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// # let node = Node::serve(address, functions![add]).await?;
    /// # let client = Client::connect(address).await?;
    /// add::call(&client, 1, 2).await?;
    /// let stats = node.stats();
    /// assert_eq!((stats.gateways, stats.calls, stats.waiting), (1, 1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "metrics")]
    pub fn stats(&self) -> NodeStats {
        let counters = &self.shared.counters;
        let (jobs, kept_jobs) = self.shared.runs.n_jobs();
        NodeStats {
            gateways: counters.gateways.load(Ordering::Relaxed),
            in_flight: counters.in_flight.load(Ordering::Relaxed),
            waiting: counters.waiting.load(Ordering::Relaxed),
            streams: self.shared.streams.n(),
            jobs,
            kept_jobs,
            calls: counters.calls.load(Ordering::Relaxed),
            repeats: counters.repeats.load(Ordering::Relaxed),
            left_out: counters.left_out.load(Ordering::Relaxed),
        }
    }

    /// Returns the figures of each function since the node started, sorted by name: how its calls
    /// ended, and how long they waited and ran.
    ///
    /// Callers that join a run, by [`key`](crate::Call::key) or in a batch, count each.
    ///
    /// ```
    /// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::serve(address, functions![add]).await?;
    /// for function in node.functions() {
    ///     let p99 = function.ran.quantile(0.99);
    ///     println!("{}: {} calls, p99 {p99:?}", function.function, function.ended());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "metrics")]
    pub fn functions(&self) -> Vec<FunctionStats> {
        // Operators have no calls.
        let all = self.shared.registry.all().filter(|it| it.descriptor.kind.is_callable());
        all.map(|function| function.meter.read(&function.name, 0)).collect()
    }

    /// Returns the open streams with their figures, the oldest first: from where their arguments have
    /// arrived to their end.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::serve(address, functions![add]).await?;
    /// for stream in node.streams() {
    ///     println!("{} for {}: {} items", stream.function, stream.caller.id, stream.items);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "metrics")]
    pub fn streams(&self) -> Vec<StreamStats> {
        self.shared.streams.stats()
    }

    /// Shuts down gracefully: accepts no more calls, waits up to `grace` for the running ones, and
    /// ends.
    ///
    /// The gateways route new calls to other nodes, or answer
    /// [`Draining`](crate::ErrorKind::Draining), [`Executed::No`](crate::Executed::No), if no other
    /// node offers the function. Waits for `detached` functions too, and for
    /// [jobs](crate::Call::spawn) and their results to be collected: while they are awaited, the
    /// node stays reachable for requests about them. Calls that still run after `grace` end as with
    /// [`shutdown`](Self::shutdown). 30 s is a usual grace period.
    ///
    /// Returns the jobs that are lost with the node, in the order of their ids: those that have not
    /// ended, and those whose results nobody has collected. It is empty if the drain was complete.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # async fn example(address: &str) -> Result<(), Error> {
    /// use std::time::Duration;
    ///
    /// let node = Node::serve(address, functions![add]).await?;
    /// easyremote::shutdown_signal().await; // Ctrl-C or SIGTERM
    /// node.drain(Duration::from_secs(30)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// The first poll starts the drain. If the future is dropped then, the node still ends after
    /// its last call, but `grace` no longer limits the wait.
    #[doc(alias = "graceful shutdown")]
    #[doc(alias = "stop")]
    pub async fn drain(&self, grace: Duration) -> Vec<LostJob> {
        self.shared.draining.cancel();
        tokio::select! {
            biased;
            () = self.closed() => {}
            () = self.io.sleep(grace.min(MAX_TIMEOUT)) => {
                let id = &self.shared.id;
                tracing::warn!(%id, ?grace, "drain grace period expired, aborting calls");
            }
        }
        let lost = self.shared.runs.lost();
        self.shutdown().await;
        lost
    }

    /// Leaves all gateways and waits until the node has ended.
    ///
    /// Running calls are cancelled and fail with [`NodeLost`](crate::ErrorKind::NodeLost).
    /// `detached` functions run on; this does not wait for them. [Jobs](crate::Call::spawn) are
    /// cancelled too, and their results are lost.
    ///
    /// ```
    /// # use easyremote::{Client, Error, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::serve(address, functions![add]).await?;
    /// node.shutdown().await;
    /// assert_eq!(node.stats().gateways, 0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// The first poll starts the shutdown. The node ends even if the future is dropped then.
    #[doc(alias = "stop")]
    #[doc(alias = "close")]
    pub async fn shutdown(&self) {
        self.io.stop();
        self.closed().await;
    }

    /// Resolves when the node has ended: after [`shutdown`](Self::shutdown) or
    /// [`drain`](Self::drain), or because its runtime ended.
    ///
    /// ```
    /// # async fn example(node: easyremote::Node) {
    /// use std::time::Duration;
    ///
    /// tokio::select! {
    ///     () = node.closed() => println!("the node has ended"),
    ///     () = easyremote::shutdown_signal() => {
    ///         let lost = node.drain(Duration::from_secs(30)).await;
    ///         println!("{} jobs are lost", lost.len());
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and nothing else.
    #[doc(alias = "wait")]
    #[doc(alias = "join")]
    pub async fn closed(&self) {
        self.io.ended().await;
    }
}

/// Held by a task of the runtime that the functions run on. Its drop stops the node when that
/// runtime ends.
struct WithRuntime {
    node: Arc<NodeState>,
    stop: CancellationToken,
}

impl Drop for WithRuntime {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            self.node.runtime_ended.store(true, Ordering::Relaxed);
            tracing::warn!(
                id = %self.node.id,
                "the node ends: the tokio runtime that it was started from has ended"
            );
            self.stop.cancel();
        }
    }
}

/// Cancels the node's jobs when it is dropped: nobody can reach them any more.
struct CancelJobs(Arc<NodeState>);

impl Drop for CancelJobs {
    fn drop(&mut self) {
        self.0.runs.close();
    }
}

/// Keeps a session with each gateway until `stop` is cancelled.
async fn run(
    shared: Arc<NodeState>,
    diallers: Vec<Dialler>,
    patience: Duration,
    first: mpsc::Sender<Result<(), Error>>,
    (stop, guard): (CancellationToken, GoodbyeGuard),
) {
    // Cancels `stop` however this function ends, so that the task below ends too.
    let _ended = stop.clone().drop_guard();
    let with_runtime = WithRuntime { node: shared.clone(), stop: stop.clone() };
    shared.runtime.spawn(async move { with_runtime.stop.cancelled().await });
    let Some(tasks) = io::current() else { return };
    let _jobs = CancelJobs(shared.clone());
    let mut sessions = FuturesUnordered::new();
    for (gateway, dialler) in diallers.into_iter().enumerate() {
        let (shared, first) = (shared.clone(), first.clone());
        let (tasks, stop) = (tasks.clone(), (stop.clone(), guard.clone()));
        let session = session::keep(dialler, gateway, shared, patience, first, tasks, stop);
        sessions.push(io::spawn(session));
    }
    drop((first, guard));
    let ended = async { while sessions.next().await.is_some() {} };
    tokio::select! {
        () = ended => {}
        never = load::measure(&shared) => match never {},
        never = shared.started.forget() => match never {},
        never = shared.runs.tend() => match never {},
        never = shared.batches.watch(&shared.draining) => match never {},
    }
}
