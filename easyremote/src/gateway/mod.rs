//! The gateway: the only party that listens. It routes calls and never decodes arguments or
//! results.
//!
//! [`Gateway::serve`] starts a [`Gateway`] with default options; a [`GatewayBuilder`] sets them.

mod admission;
mod connections;
mod directory;
mod drain;
mod ending;
mod limits;
#[cfg(feature = "metrics")]
mod metrics;
mod peer_log;
pub(crate) mod policy;
mod relay;
mod routing;
mod schema_pool;
mod session;
mod state;
mod threads;
#[cfg(feature = "http")]
mod view;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::call::deadline::now;
use crate::error::{Error, not_zero};
use crate::gateway::admission::Admission;
use crate::gateway::admission::reject_log::RejectLog;
use crate::gateway::directory::Directory;
use crate::gateway::ending::Ending;
use crate::gateway::limits::Hits;
#[cfg(feature = "http")]
use crate::gateway::policy::bearers::BearerFile;
use crate::gateway::policy::config::PolicyOptions;
use crate::gateway::policy::revocations::RevocationFile;
use crate::gateway::policy::tokens::Tokens;
use crate::gateway::relay::dispatch::Dispatcher;
use crate::gateway::routing::Router;
use crate::gateway::schema_pool::SchemaPool;
use crate::gateway::state::{GatewayCounters, GatewayState};
use crate::gateway::threads::{GatewayThreads, MAX_THREADS};
use crate::gateway::worker::BackgroundWorker;
use crate::transport::auth::authorities::Authorities;
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::identity::{Identity, default_directory};
use crate::transport::stream_table::StreamTable;
use crate::wire::limits::MAX_TIMEOUT;

pub use crate::call::batch_meter::{BatchReason, BatchStats};
pub use crate::call::function_meter::FunctionStats;
pub use crate::call::histogram::DurationHistogram;
#[cfg(feature = "metrics")]
pub use crate::exposition::MetricsFormat;
pub use crate::gateway::limits::GatewayLimits;
pub use crate::gateway::policy::access::Peers;
#[cfg(feature = "http")]
pub(crate) use crate::gateway::policy::tokens::Admitted;
pub(crate) use crate::gateway::relay::dispatch::Refusal;
#[cfg(feature = "http")]
pub(crate) use crate::gateway::relay::failed_calls::FailedCall;
pub use crate::gateway::routing::OutlierOptions;
#[cfg(feature = "http")]
pub(crate) use crate::gateway::routing::WaitingCallInfo;
#[cfg(feature = "__bench")]
pub(crate) use crate::gateway::routing::bench;
#[cfg(feature = "http")]
pub(crate) use crate::gateway::view::{BearerGrant, CallsUnderWay, GatewayView};
pub use crate::transport::stream_table::StreamStats;
pub use crate::wire::directory::{FunctionInfo, GatewayStats, LimitHits, NodeInfo};
pub use crate::wire::load::{Memory, NodeLoad};

/// A running gateway: accepts nodes and clients, and relays calls between them.
///
/// The gateway runs on its own thread, or [several](GatewayBuilder::threads), so code that blocks
/// the caller's runtime does not delay it. Dropping the handle shuts the gateway down. The drop
/// notifies the peers even if the process exits right afterwards; unlike
/// [`shutdown`](Self::shutdown), it does not wait until the port is free. It usually takes well
/// below a millisecond, and 100 ms at most.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
/// println!("listening on {}", gateway.local_addr());
/// gateway.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[doc(alias = "server")]
#[doc(alias = "broker")]
#[derive(Debug)]
pub struct Gateway {
    threads: GatewayThreads,
    shared: Arc<GatewayState>,
    local_addr: SocketAddr,
}

/// Options of a gateway; created by [`Gateway::builder`].
///
/// Every setter replaces the earlier value, except [`token`](Self::token),
/// [`authority`](Self::authority), [`may_call`](Self::may_call) and [`may_offer`](Self::may_offer),
/// which add to a list.
///
/// ```
/// use easyremote::{Gateway, Role};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
///
/// let gateway = Gateway::builder("127.0.0.1:0")
///     .token(Role::Client, "web")
///     .may_call("web", ["Model.*"])
///     .serve()
///     .await?;
/// # gateway.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `serve` is called"]
pub struct GatewayBuilder {
    address: String,
    state_dir: Option<PathBuf>,
    threads: u8,
    limits: GatewayLimits,
    outliers: OutlierOptions,
    refusals: Option<mpsc::UnboundedSender<Refusal>>,
    trust: PolicyOptions,
}

impl Gateway {
    /// Starts a gateway at `address` with default options.
    ///
    /// `address` is `host:port`. Port 0 selects a free port; [`local_addr`](Self::local_addr)
    /// returns it. The socket is bound and the gateway is running when this returns.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// assert_ne!(gateway.local_addr().port(), 0);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`Unavailable`](crate::ErrorKind::Unavailable) if the address cannot be bound, for example
    ///   because the port is in use, or if the gateway's key cannot be stored or read.
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput) if `address` is not `host:port`, or if a
    ///   token name, rule or limit of the builder is invalid.
    ///
    /// # Cancel safety
    /// Dropping the future stops the gateway; nothing keeps running.
    #[doc(alias = "listen")]
    #[doc(alias = "bind")]
    #[doc(alias = "start")]
    pub async fn serve(address: impl ToString) -> Result<Self, Error> {
        Self::builder(address).serve().await
    }

    /// Returns a builder for a gateway at `address`, which is `host:port`.
    ///
    /// ```
    /// use easyremote::Gateway;
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().connections(500);
    /// let builder = Gateway::builder("0.0.0.0:8080").limits(limits);
    /// # let _ = builder;
    /// ```
    pub fn builder(address: impl ToString) -> GatewayBuilder {
        GatewayBuilder {
            address: address.to_string(),
            state_dir: None,
            threads: 1,
            limits: GatewayLimits::default(),
            outliers: OutlierOptions::default(),
            refusals: None,
            trust: PolicyOptions::default(),
        }
    }

    /// Returns the address that the gateway listens on.
    ///
    /// With port 0 in the address passed to [`serve`](Self::serve), this is the port that was
    /// selected.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let client = easyremote::Client::connect(gateway.local_addr()).await?;
    /// # drop(client);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "port")]
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns the nodes that are registered now, sorted by id.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// for node in gateway.nodes() {
    ///     println!("{} offers {:?}, runs {} calls", node.id, node.functions, node.in_flight);
    /// }
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.shared.dispatcher.router.nodes()
    }

    /// Returns counters: connections, nodes, calls in flight, and how often each limit was hit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// let stats = gateway.stats();
    /// assert_eq!((stats.nodes, stats.in_flight), (0, 0));
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "metrics")]
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        self.shared.stats()
    }

    /// Returns the open streams with their figures, the oldest first: from where a node has received
    /// the call to the end of its stream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// for stream in gateway.streams() {
    ///     println!("{} for {}: {} items", stream.function, stream.caller.id, stream.items);
    /// }
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "metrics")]
    #[must_use]
    pub fn streams(&self) -> Vec<StreamStats> {
        self.shared.streams.stats()
    }

    /// Returns the figures of each function that a node has offered since the gateway started, sorted
    /// by name: how its calls ended, and how long they waited and ran. They are kept after the nodes
    /// have left, for up to 1,024 functions; all others are counted as one, `easyremote.other`.
    ///
    /// A call that the gateway sends to another node, because the first was lost, counts once: it has
    /// waited until it was first sent, and taken from there to its end. Retries of a client count
    /// separately, and so do both calls of a hedged one and each connection of a resumable stream.
    /// Requests about jobs do not count.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// for function in gateway.functions() {
    ///     let p99 = function.ran.quantile(0.99);
    ///     println!("{}: {} calls, p99 {p99:?}", function.function, function.ended());
    /// }
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "metrics")]
    #[must_use]
    pub fn functions(&self) -> Vec<FunctionStats> {
        self.shared.dispatcher.router.functions()
    }

    /// Shuts down gracefully: completes the calls in flight, for at most `grace`, without failing
    /// any.
    ///
    /// - Clients with another gateway switch to it.
    /// - Clients without another gateway stay, and this gateway keeps serving them until the calls
    ///   in flight have ended. Then it disconnects them, and they wait for the gateway that is
    ///   restarted at the same address. A call therefore waits only for the restart, not for calls
    ///   that have been running for a long time.
    /// - Meanwhile, streams, client streams, and calls of functions that usually take more than 1 s
    ///   do not start; their clients hold them back from the beginning of the drain.
    /// - Calls that are waiting when the gateway ends wait for its successor for up to their
    ///   client's [`connect_timeout`](crate::auth::DialOptions::connect_timeout), and then for
    ///   their nodes.
    /// - Nodes stay connected until the end. Like clients, they dial the successor immediately.
    ///
    /// Calls still in flight after `grace` are aborted as by [`shutdown`](Self::shutdown): they
    /// fail with [`ConnectionLost`](crate::ErrorKind::ConnectionLost), and whether they ran is
    /// `Maybe` or `Yes`. Shortly before that (1 s, or a quarter of `grace` if that is shorter) the
    /// gateway disconnects clients in any case, so that no short call is aborted. A typical grace
    /// period is 30 s. If `drain` is called again, the new `grace` replaces the old one.
    ///
    /// ```
    /// use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// // A program awaits `easyremote::shutdown_signal()` here.
    /// gateway.drain(Duration::from_secs(30)).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Once polled, the gateway drains and ends even if the future is dropped.
    #[doc(alias = "graceful_shutdown")]
    #[doc(alias = "stop")]
    pub async fn drain(&self, grace: Duration) {
        self.shared.drain.begin(grace.min(MAX_TIMEOUT), now());
        self.closed().await;
    }

    /// Closes all connections, and waits until the gateway has ended and its port is free.
    ///
    /// Calls in flight fail with [`ConnectionLost`](crate::ErrorKind::ConnectionLost). Use
    /// [`drain`](Self::drain) to complete them first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Once polled, the gateway ends even if the future is dropped.
    #[doc(alias = "stop")]
    #[doc(alias = "close")]
    pub async fn shutdown(&self) {
        self.threads.stop();
        self.closed().await;
    }

    /// Waits until the gateway has ended, for whatever reason.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// tokio::select! {
    ///     () = gateway.closed() => eprintln!("the gateway has ended"),
    ///     () = std::future::ready(()) => gateway.shutdown().await,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future has no effect.
    #[doc(alias = "wait")]
    #[doc(alias = "join")]
    pub async fn closed(&self) {
        self.threads.ended().await;
    }
}

impl GatewayBuilder {
    /// Stores the gateway's key and its [revocations](Gateway::revoke) in `directory`.
    ///
    /// The default is the user's state directory: on Linux `easyremote` below `$XDG_STATE_HOME`,
    /// which is `~/.local/state` unless set. Nodes and clients that find the gateway on loopback
    /// without a ticket need the same option.
    ///
    /// Anyone who can read the directory can take any role. On Unix, a key file that other users
    /// can read is rejected; elsewhere this is not checked.
    ///
    /// ```
    /// use easyremote::Gateway;
    ///
    /// let builder = Gateway::builder("127.0.0.1:0").state_dir("/var/lib/easyremote");
    /// # let _ = builder;
    /// ```
    #[doc(alias = "key")]
    #[doc(alias = "identity")]
    pub fn state_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.state_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets what the gateway allows its peers; [`GatewayLimits::default`] unless set.
    ///
    /// [`serve`](Self::serve) rejects a limit of 0 that would let nothing through.
    ///
    /// ```
    /// use easyremote::Gateway;
    /// use easyremote::gateway::GatewayLimits;
    ///
    /// let limits = GatewayLimits::new().max_message(1 << 20);
    /// let builder = Gateway::builder("0.0.0.0:8080").limits(limits);
    /// # let _ = builder;
    /// ```
    pub fn limits(mut self, limits: GatewayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the number of threads that the gateway relays calls with; 1 by default, at most 64.
    ///
    /// The threads share one UDP port, and each serves some of the peers: a peer's first packet
    /// selects its thread at random. Use 2 or more where one processor core is the limit, and peers
    /// are many: a thread relays several 100,000 small calls per second. With few peers, some
    /// threads may have none. A call between peers of different threads takes two more wake-ups of
    /// a thread, about 40 us, and a third more processor time on all threads together.
    ///
    /// The limits of [`GatewayLimits`] hold for all threads together. Beyond that, one thread has
    /// at most one and a half times its share of the unauthenticated connections, because a peer
    /// that does not use this library can select its thread. The gateway needs 8 MiB of socket
    /// buffers per thread.
    ///
    /// Only Linux distributes the packets of one port in this way. On other systems the gateway has
    /// one thread, whatever is set here. [`serve`](Self::serve) rejects 0.
    ///
    /// A gateway that is restarted at the same address may have another number of threads.
    ///
    /// ```
    /// use easyremote::Gateway;
    ///
    /// let builder = Gateway::builder("0.0.0.0:8080").threads(2);
    /// # let _ = builder;
    /// ```
    #[doc(alias = "cores")]
    #[doc(alias = "workers")]
    #[doc(alias = "scale")]
    pub fn threads(mut self, threads: usize) -> Self {
        let threads = threads.min(MAX_THREADS.into()) as u8;
        self.threads = if cfg!(target_os = "linux") { threads } else { threads.min(1) };
        self
    }

    /// Sets when nodes are avoided because their calls keep failing; [`OutlierOptions::default`]
    /// unless set.
    ///
    /// ```
    /// use easyremote::Gateway;
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let builder = Gateway::builder("127.0.0.1:0").outliers(OutlierOptions::off());
    /// # let _ = builder;
    /// ```
    #[doc(alias = "circuit_breaker")]
    pub fn outliers(mut self, outliers: OutlierOptions) -> Self {
        self.outliers = outliers;
        self
    }

    /// Sends every call for which no node was found to `refusals`.
    #[cfg(feature = "testing")]
    pub(crate) fn refusals(mut self, refusals: mpsc::UnboundedSender<Refusal>) -> Self {
        self.refusals = Some(refusals);
        self
    }

    /// Starts the gateway. The socket is bound and the gateway is running when this returns.
    ///
    /// ```
    /// use easyremote::Gateway;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::builder("127.0.0.1:0").serve().await?;
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Gateway::serve`].
    ///
    /// # Cancel safety
    /// As for [`Gateway::serve`].
    #[doc(alias = "listen")]
    #[doc(alias = "bind")]
    #[doc(alias = "start")]
    pub async fn serve(self) -> Result<Gateway, Error> {
        not_zero("threads", self.threads.into())?;
        self.limits.check()?;
        self.trust.access.check()?;
        let identity = Identity::load_or_create(self.state_dir.as_deref())?;
        let access = Arc::new(self.trust.access);
        let authorities = Authorities::new(self.trust.authorities)?;
        let directory = self.state_dir.map_or_else(default_directory, Ok)?;
        let revoked = RevocationFile::within(&directory);
        let tokens = Tokens::new(&identity, &self.trust.tokens, authorities, revoked)?;
        let shared = Arc::new(GatewayState {
            shown: Arc::new(ServerCertResolver::new(&identity, self.trust.certificate)?),
            identity,
            tokens,
            #[cfg(feature = "http")]
            bearers: BearerFile::within(&directory),
            dispatcher: Dispatcher {
                router: Arc::new(Router::new(access.clone(), self.outliers)),
                refusals: self.refusals,
                failed: Arc::default(),
            },
            access,
            admission: Admission::new(self.limits.clone(), self.threads),
            limits: self.limits,
            hits: Hits::default(),
            counters: GatewayCounters::default(),
            streams: StreamTable::default(),
            refused: RejectLog::default(),
            log: Arc::default(),
            directory: Directory::default(),
            schemas: SchemaPool::default(),
            table_work: BackgroundWorker::default(),
            #[cfg(feature = "http")]
            started: std::time::Instant::now(),
            drain: Arc::default(),
            ending: Ending::default(),
        });
        let (threads, local_addr) =
            GatewayThreads::start(self.threads, self.address, &shared).await?;
        tracing::info!(%local_addr, "gateway listening");
        Ok(Gateway { threads, shared, local_addr })
    }
}
