//! The gateway: the one party that listens. It routes calls and never decodes what they carry.
//!
//! A [`Gateway`] is started by [`Gateway::serve`], or by a [`GatewayBuilder`] with options.

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
use crate::transport::log_limit::Brief;
use crate::transport::quic::endpoint::Listener;
use crate::transport::quic::io_thread::{GoodbyeGuard, IoThread};
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

/// A running gateway.
///
/// It has a thread of its own, so it runs whatever the program does. Dropping the handle shuts it
/// down: the drop tells the peers, also if the program ends right after it, and does not wait for
/// the port to be free, as [`shutdown`](Self::shutdown) does. It takes well below a millisecond as a
/// rule, and 100 ms at most.
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
#[derive(Debug)]
pub struct Gateway {
    io: IoThread,
    shared: Arc<GatewayState>,
    local_addr: SocketAddr,
}

/// Options of a gateway, from [`Gateway::builder`].
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
    /// Starts a gateway at `address` with default options. It is bound and running when this
    /// returns.
    ///
    /// `address` is `host:port`; port 0 takes a free one, see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the address cannot be had, for example because the port is
    /// taken, or if there is no place to keep the gateway's key; [`ErrorKind::InvalidInput`] if what
    /// is given is no address, or the builder was given a name, rule or limit that is none.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    pub async fn serve(address: impl ToString) -> Result<Self, Error> {
        Self::builder(address).serve().await
    }

    /// Options for a gateway at `address`.
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

    /// The address that the gateway listens on.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The nodes that are registered now, by id.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.shared.dispatcher.router.nodes()
    }

    /// What the gateway is doing, and has done.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        self.shared.stats()
    }

    /// Ends without failing a call: sends the clients away, finishes the calls that there are, for at
    /// most `grace`, and ends.
    ///
    /// Clients that have another gateway go there. For the others this one goes on, until the calls
    /// that are under way are over; only then are they sent away, and wait for the gateway that is
    /// started again at its address. So a call waits for the restart, and not for what is long under
    /// way. Streams, client streams, and calls of functions that usually take more than 1 s are not
    /// begun meanwhile: they wait from the beginning on.
    ///
    /// Calls that are waiting when the gateway ends wait for its successor as long as their client's
    /// [`connect_timeout`](crate::auth::DialOptions::connect_timeout), and then for their nodes. Nodes
    /// stay until the end, and look for the successor at once, as clients do.
    ///
    /// What is still under way after `grace` is cut off, as with [`shutdown`](Self::shutdown): for a
    /// call [`ConnectionLost`](crate::ErrorKind::ConnectionLost), `Maybe` or `Yes`. 1 s before, or a
    /// quarter of a shorter `grace`, clients are sent away in any case, so that this concerns no
    /// call that is a short one. 30 s is a usual grace. The last call of `drain` sets it.
    ///
    /// # Cancel safety
    /// Once polled, the gateway drains and ends whether or not this is waited for.
    pub async fn drain(&self, grace: Duration) {
        self.shared.drain.begin(grace.min(MAX_TIMEOUT), now());
        self.closed().await;
    }

    /// Closes all connections and waits until the gateway has ended. Calls under way fail with
    /// [`ErrorKind::ConnectionLost`].
    ///
    /// # Cancel safety
    /// Once polled, the gateway ends whether or not this is waited for.
    pub async fn shutdown(&self) {
        self.io.stop();
        self.closed().await;
    }

    /// Resolves when the gateway has ended, for whatever reason. Cancel safe.
    pub async fn closed(&self) {
        self.io.ended().await;
    }
}

impl GatewayBuilder {
    /// Keeps the gateway's key, and what was [revoked](Gateway::revoke), in `directory` instead of
    /// the state directory of the user, which is `~/.local/state/easyremote` on Linux.
    ///
    /// Nodes and clients that are to find it by itself on loopback need the same option. Whoever can
    /// read it may be any role; that only its owner can is checked on Unix only.
    pub fn state_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.state_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// What the gateway allows its peers, instead of the defaults.
    pub fn limits(mut self, limits: GatewayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// When nodes are avoided whose calls keep failing, instead of the defaults.
    pub fn outliers(mut self, outliers: OutlierOptions) -> Self {
        self.outliers = outliers;
        self
    }

    /// Tells `refusals` of every call for which there is no node.
    pub(crate) fn refusals(mut self, refusals: mpsc::UnboundedSender<Refusal>) -> Self {
        self.refusals = Some(refusals);
        self
    }

    /// Starts the gateway. It is bound and running when this returns.
    ///
    /// # Errors
    /// As for [`Gateway::serve`].
    ///
    /// # Cancel safety
    /// As for [`Gateway::serve`].
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
        // Not shown: it may be a ticket.
        let text = "the address to listen on is none; write `host:port`";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let failed = |error: std::io::Error| {
        let text = format!("cannot listen on `{address}`");
        Error::new(ErrorKind::Unavailable, text).with_source(error)
    };
    let resolved = tokio::net::lookup_host(address).await.map_err(failed)?.next();
    let address = resolved.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("`{address}` stands for no address"))
    })?;
    let asks = !shared.tokens.authorities().is_empty();
    let listener = Listener::bind(address, &shared.identity, shared.shown.clone(), asks)?;
    let local = listener.endpoint().local_addr().map_err(failed)?;
    Ok((listener, local))
}

/// Begins the handshake with a new peer, if there is room for it.
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

/// Serves connections until told to stop.
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
                // Not `ignore`: the peer is to look for another gateway at once.
                Some(incoming) if shared.drain.stage() == DrainStage::Leaving => incoming.refuse(),
                Some(incoming) => {
                    if let Some((handshake, visitor)) = admit(incoming, listener, shared) {
                        sessions.spawn(session::serve(handshake, visitor, shared.clone()));
                    }
                }
                None => {
                    tracing::error!("the gateway's socket is gone; it ends");
                    break;
                }
            },
            // Reaps; a session that panicked has cost nobody else anything.
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
        }
    }
    let (kind, reason): (_, &[u8]) = match shared.drain.stage() {
        DrainStage::Serving => (ErrorKind::ConnectionLost, b"the gateway has shut down"),
        // Its peers expect a successor.
        _ => (ErrorKind::Draining, b"the gateway has drained"),
    };
    let code = reset::code(kind);
    let closed = shared.connections.close_all(code, reason);
    // Those whose handshake is not over.
    endpoint.close(code, reason);
    goodbye::told(closed).await;
    drop(guard);
    goodbye::drained(endpoint).await;
}
