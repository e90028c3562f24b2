//! The gateway: the only party that listens. It routes calls and never decodes arguments or
//! results.
//!
//! [`Gateway::serve`] starts a [`Gateway`] with default options; a [`GatewayBuilder`] sets them.

mod admission;
mod connections;
mod directory;
mod drain;
mod limits;
mod peer_log;
pub(crate) mod policy;
mod relay;
mod routing;
mod session;
mod state;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::call::deadline::now;
use crate::error::{Error, ErrorKind};
use crate::gateway::admission::reject_log::RejectLog;
use crate::gateway::admission::{Admission, ConnectionSlot};
use crate::gateway::connections::Connections;
use crate::gateway::directory::Directory;
use crate::gateway::drain::DrainStage;
use crate::gateway::limits::Hits;
use crate::gateway::peer_log::LineKind;
use crate::gateway::policy::config::PolicyOptions;
use crate::gateway::policy::revocations::RevocationFile;
use crate::gateway::policy::tokens::Tokens;
use crate::gateway::relay::dispatch::Dispatcher;
use crate::gateway::routing::Router;
use crate::gateway::state::{GatewayCounters, GatewayState};
use crate::gateway::worker::BackgroundWorker;
use crate::transport::auth::authorities::Authorities;
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::identity::{Identity, default_directory};
use crate::transport::auth::ticket::host_and_port;
use crate::transport::io::farewell::GoodbyeGuard;
use crate::transport::io::io_thread::IoThread;
use crate::transport::log_limit::Brief;
use crate::transport::quic::endpoint::Listener;
use crate::transport::quic::{goodbye, reset};
use crate::wire::limits::MAX_TIMEOUT;

pub use crate::gateway::limits::GatewayLimits;
pub use crate::gateway::policy::access::Peers;
pub(crate) use crate::gateway::relay::dispatch::Refusal;
pub use crate::gateway::routing::OutlierOptions;
#[cfg(feature = "__bench")]
pub(crate) use crate::gateway::routing::bench;
pub use crate::wire::directory::{FunctionInfo, GatewayStats, LimitHits, NodeInfo};
pub use crate::wire::load::{Memory, NodeLoad};

/// A running gateway: accepts nodes and clients, and relays calls between them.
///
/// The gateway runs on its own thread, so code that blocks the caller's runtime does not delay it.
/// Dropping the handle shuts the gateway down. The drop notifies the peers even if the process
/// exits right afterwards; unlike [`shutdown`](Self::shutdown), it does not wait until the port is
/// free. It usually takes well below a millisecond, and 100 ms at most.
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
    io: IoThread,
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
    /// - [`ErrorKind::Unavailable`] if the address cannot be bound, for example because the port is
    ///   in use, or if the gateway's key cannot be stored or read.
    /// - [`ErrorKind::InvalidInput`] if `address` is not `host:port`, or if a token name, rule or
    ///   limit of the builder is invalid.
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
    /// Calls in flight fail with [`ErrorKind::ConnectionLost`]. Use [`drain`](Self::drain) to
    /// complete them first.
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
        self.io.stop();
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
        self.io.ended().await;
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
        self.limits.check()?;
        self.trust.access.check()?;
        let identity = Identity::load_or_create(self.state_dir.as_deref())?;
        let access = Arc::new(self.trust.access);
        let authorities = Authorities::new(self.trust.authorities)?;
        let revoked = match &self.state_dir {
            Some(directory) => RevocationFile::within(directory),
            None => RevocationFile::within(&default_directory()?),
        };
        let tokens = Tokens::new(&identity, &self.trust.tokens, authorities, revoked)?;
        let shared = Arc::new(GatewayState {
            shown: Arc::new(ServerCertResolver::new(&identity, self.trust.certificate)?),
            identity,
            tokens,
            dispatcher: Dispatcher {
                router: Arc::new(Router::new(access.clone(), self.outliers)),
                refusals: self.refusals,
            },
            access,
            admission: Admission::new(self.limits.clone()),
            limits: self.limits,
            connections: Connections::default(),
            hits: Hits::default(),
            counters: GatewayCounters::default(),
            refused: RejectLog::default(),
            log: Arc::default(),
            directory: Directory::default(),
            table_work: BackgroundWorker::default(),
            drain: Arc::default(),
        });
        let (bound, binding) = oneshot::channel();
        let io = IoThread::start("easyremote-gateway", |stop, guard| {
            let (shared, address) = (shared.clone(), self.address);
            async move {
                match listen(&address, &shared).await {
                    Ok((listener, local)) => {
                        if bound.send(Ok(local)).is_ok() {
                            run(&listener, &shared, stop, guard).await;
                        }
                    }
                    Err(error) => {
                        let _ = bound.send(Err(error));
                    }
                }
            }
        })?;
        let ended = |_| Error::new(ErrorKind::Unavailable, "the gateway's thread has ended");
        let local_addr = binding.await.map_err(ended)??;
        tracing::info!(%local_addr, "gateway listening");
        Ok(Gateway { io, shared, local_addr })
    }
}

async fn listen(address: &str, shared: &GatewayState) -> Result<(Listener, SocketAddr), Error> {
    if host_and_port(address).is_none() {
        // The address is not quoted: it may be a ticket, which contains a secret.
        let text = "the address to listen on is invalid; write `host:port`";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let failed = |error: std::io::Error| {
        let text = format!("cannot listen on `{address}`");
        Error::new(ErrorKind::Unavailable, text).with_source(error)
    };
    let resolved = tokio::net::lookup_host(address).await.map_err(failed)?.next();
    let address = resolved.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("`{address}` does not resolve to an address"))
    })?;
    let asks = !shared.tokens.authorities().is_empty();
    let listener = Listener::bind(address, &shared.identity, shared.shown.clone(), asks)?;
    let local = listener.endpoint().local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Starts the handshake with a new peer, if admission control has a slot for it.
fn admit(
    incoming: quinn::Incoming,
    listener: &Listener,
    shared: &GatewayState,
) -> Option<(quinn::Connecting, ConnectionSlot)> {
    let (incoming, visitor) = shared.admission.receive(incoming, &shared.hits)?;
    let peer = incoming.remote_address();
    match listener.accept(incoming) {
        Ok(handshake) => Some((handshake, visitor)),
        Err(cause) => {
            if let Some(left_out) = shared.log.of_stranger(peer.ip(), LineKind::Unfinished) {
                let error = reset::connection_error(cause, ErrorKind::ConnectionLost);
                tracing::debug!(%peer, error = %Brief(error.chain()), left_out, "handshake failed");
            }
            None
        }
    }
}

/// Accepts and serves connections until the gateway is stopped or has drained.
async fn run(
    listener: &Listener,
    shared: &Arc<GatewayState>,
    stop: CancellationToken,
    guard: GoodbyeGuard,
) {
    let endpoint = listener.endpoint();
    let mut sessions = tokio::task::JoinSet::new();
    let drained = shared.drain.run(|| shared.slow_functions());
    tokio::pin!(drained);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = &mut drained => break,
            incoming = endpoint.accept() => match incoming {
                // `refuse` and not `ignore`: the answer lets the peer try another gateway at once
                // instead of timing out.
                Some(incoming) if shared.drain.stage() == DrainStage::Leaving => incoming.refuse(),
                Some(incoming) => {
                    if let Some((handshake, visitor)) = admit(incoming, listener, shared) {
                        sessions.spawn(session::serve(handshake, visitor, shared.clone()));
                    }
                }
                None => {
                    tracing::error!("the gateway's UDP socket is closed, shutting down");
                    break;
                }
            },
            // Reaps ended sessions. A session that panicked affects only its own peer.
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
        }
    }
    let (kind, reason): (_, &[u8]) = match shared.drain.stage() {
        DrainStage::Serving => (ErrorKind::ConnectionLost, b"the gateway has shut down"),
        // `Draining` tells peers to expect a successor at the same address.
        _ => (ErrorKind::Draining, b"the gateway has drained"),
    };
    let code = reset::code(kind);
    // One call closes all connections before any session runs again: see `Connections::close_all`.
    let closed = shared.connections.close_all(code, reason);
    // Closes the connections whose handshake is still in progress.
    endpoint.close(code, reason);
    goodbye::told(closed).await;
    drop(guard);
    goodbye::drained(endpoint).await;
}
