//! The I/O threads of a gateway, which share its UDP port.
//!
//! ```text
//!               thread 0           thread 1    ..     one runtime and one endpoint each
//! packets ----> accept, sessions   accept, sessions   of the peers whose connection ids name it
//!                       \           /
//!                        GatewayState                 routes, limits, counters
//! ```
//!
//! The kernel passes each packet to the thread that its connection id names
//! ([`udp`](crate::transport::quic::udp)). All tasks of a connection run on the thread of its
//! endpoint, except those of calls:
//!
//! - A call's tasks run on the thread of its caller. They write to the node's connection, and read
//!   from it, whichever thread that belongs to: quinn's connections and streams may be used from
//!   any thread, and wake the driver of the connection on its own.
//! - What arrives on a node's multiplexed stream is passed on by the node's thread. It ends up in
//!   the `MuxWriter` of the caller, which any thread may push to, and which wakes the caller's
//!   thread once per batch.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::error::{Error, ErrorKind};
use crate::gateway::admission::ConnectionSlot;
use crate::gateway::connections::Connections;
use crate::gateway::drain::DrainStage;
use crate::gateway::ending::EndsAll;
use crate::gateway::peer_log::LineKind;
use crate::gateway::session;
use crate::gateway::state::GatewayState;
use crate::transport::auth::ticket::host_and_port;
use crate::transport::io::farewell::GoodbyeGuard;
use crate::transport::io::io_thread::IoThread;
use crate::transport::log_limit::Brief;
use crate::transport::quic::endpoint::{BoundListener, Listener};
use crate::transport::quic::{goodbye, reset};

/// The I/O threads of a running gateway. Dropping them ends the gateway.
#[derive(Debug)]
pub(super) struct GatewayThreads(Vec<IoThread>);

/// Maximum number of threads.
///
/// A thread relays some hundred thousand calls per second, so 64 are enough for any machine. The
/// first byte of a connection id would allow 256.
pub(super) const MAX_THREADS: u8 = 64;

impl GatewayThreads {
    /// Starts `n` threads that listen at `address`, and returns the address that is bound.
    ///
    /// # Errors
    /// `InvalidInput` if `address` is not `host:port`; `Unavailable` if it cannot be bound, or if a
    /// thread cannot start. The other threads have been stopped then.
    ///
    /// # Cancel safety
    /// Dropping the future stops the threads.
    pub(super) async fn start(
        n: u8,
        address: String,
        state: &Arc<GatewayState>,
    ) -> Result<(Self, SocketAddr), Error> {
        let mut all = Self(Vec::new());
        let mut seats = Vec::new();
        let (tracker, mut goodbye) = (TaskTracker::new(), None);
        for index in 0..n {
            let (seat, bound) = oneshot::channel();
            let (started, starting) = oneshot::channel();
            let io = IoThread::start(&name(index), |stop, guard| {
                // All share one guard, so that dropping the first thread waits for the goodbyes of
                // all, and dropping the others does not wait again.
                let guard = goodbye.get_or_insert(guard).clone();
                let thread = GatewayThread { index, stop, guard, tracker: tracker.clone() };
                thread.serve(bound, started, state.clone())
            })?;
            all.0.push(io);
            seats.push((seat, starting));
        }
        drop(goodbye);
        let ended = || Error::new(ErrorKind::Unavailable, "the gateway's thread has ended");
        let first = all.0.first().ok_or_else(ended)?;
        let binding = first.handle().spawn(bind(address, n, state.clone()));
        let (bound, local) = AbortOnDropHandle::new(binding).await.map_err(|_| ended())??;
        let mut all_starting = Vec::new();
        for (bound, (seat, starting)) in bound.into_iter().zip(seats) {
            seat.send(bound).map_err(|_| ended())?;
            all_starting.push(starting);
        }
        for starting in all_starting {
            starting.await.map_err(|_| ended())??;
        }
        Ok((all, local))
    }

    /// Requests the gateway to end.
    pub(super) fn stop(&self) {
        self.0.iter().for_each(IoThread::stop);
    }

    /// Waits until all threads have ended and the port is free. Cancel safe.
    pub(super) async fn ended(&self) {
        for thread in &self.0 {
            thread.ended().await;
        }
    }
}

impl Drop for GatewayThreads {
    fn drop(&mut self) {
        // All are told before the first is waited for.
        self.stop();
    }
}

/// Returns the name of a thread. Linux shows 15 bytes of it.
fn name(index: u8) -> String {
    match index {
        0 => "easyremote-gateway".to_owned(),
        _ => format!("easyremote-gw-{index}"),
    }
}

/// Binds a socket for each of `n` threads. Runs on the first one, because resolving a name needs a
/// runtime of tokio.
async fn bind(
    address: String,
    n: u8,
    state: Arc<GatewayState>,
) -> Result<(Vec<BoundListener>, SocketAddr), Error> {
    if host_and_port(&address).is_none() {
        // The address is not quoted: it may be a ticket, which contains a secret.
        let text = "the address to listen on is invalid; write `host:port`";
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    let failed = |error: std::io::Error| {
        let text = format!("cannot listen on `{address}`");
        Error::new(ErrorKind::Unavailable, text).with_source(error)
    };
    let resolved = tokio::net::lookup_host(&address).await.map_err(failed)?.next();
    let resolved = resolved.ok_or_else(|| {
        Error::new(ErrorKind::Unavailable, format!("`{address}` does not resolve to an address"))
    })?;
    let asks = !state.tokens.authorities().is_empty();
    BoundListener::bind(resolved, n, &state.identity, state.shown.clone(), asks)
}

/// One thread of a gateway, as its main future sees it.
struct GatewayThread {
    index: u8,
    stop: CancellationToken,
    guard: GoodbyeGuard,
    /// Tracks the threads that listen.
    tracker: TaskTracker,
}

impl GatewayThread {
    /// Waits for its socket, reports through `started` whether it listens, and serves its peers.
    async fn serve(
        self,
        bound: oneshot::Receiver<BoundListener>,
        started: oneshot::Sender<Result<(), Error>>,
        state: Arc<GatewayState>,
    ) {
        // An error means that the gateway does not start.
        let Ok(bound) = bound.await else { return };
        match bound.start() {
            Ok(listener) => {
                let tracker = self.tracker.clone();
                let listening = tracker.token();
                if started.send(Ok(())).is_ok() {
                    self.run(&listener, &state).await;
                }
                tracker.close();
                drop(listening);
                // The sockets are closed together. Otherwise the kernel would pass the packets of
                // this thread's peers to another one, which would reset connections that have been
                // closed properly.
                tracker.wait().await;
            }
            Err(error) => {
                let _ = started.send(Err(error));
            }
        }
    }

    /// Accepts and serves connections until the gateway is stopped or has drained.
    async fn run(self, listener: &Listener, state: &Arc<GatewayState>) {
        let _ends_all = EndsAll(&state.ending);
        let endpoint = listener.endpoint();
        let connections = Arc::new(Connections::default());
        let mut sessions = JoinSet::new();
        let drained = async {
            match self.index {
                0 => state.drain.run(|| state.slow_functions()).await,
                // One thread is enough to watch the counters of all.
                _ => std::future::pending().await,
            }
        };
        tokio::pin!(drained);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                () = state.ending.begun() => break,
                () = &mut drained => break,
                incoming = endpoint.accept() => match incoming {
                    // `refuse` and not `ignore`: the answer lets the peer try another gateway at
                    // once instead of timing out.
                    Some(incoming) if state.drain.stage() == DrainStage::Leaving => {
                        incoming.refuse();
                    }
                    Some(incoming) => {
                        if let Some((handshake, slot)) = self.admit(incoming, listener, state) {
                            let (connections, state) = (connections.clone(), state.clone());
                            sessions.spawn(session::serve(handshake, slot, connections, state));
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
        let (kind, reason): (_, &[u8]) = match state.drain.stage() {
            DrainStage::Serving => (ErrorKind::ConnectionLost, b"the gateway has shut down"),
            // `Draining` tells peers to expect a successor at the same address.
            _ => (ErrorKind::Draining, b"the gateway has drained"),
        };
        let code = reset::code(kind);
        // Before the first connection is closed, by any thread: see `Ending`.
        state.ending.begin();
        let closed = connections.close_all(code, reason);
        // Closes the connections whose handshake is still in progress.
        endpoint.close(code, reason);
        goodbye::told(closed).await;
        drop(self.guard);
        goodbye::drained(endpoint).await;
    }

    /// Starts the handshake with a new peer, if admission control has a slot for it.
    fn admit(
        &self,
        incoming: quinn::Incoming,
        listener: &Listener,
        state: &GatewayState,
    ) -> Option<(quinn::Connecting, ConnectionSlot)> {
        let (incoming, slot) = state.admission.receive(incoming, self.index, &state.hits)?;
        let peer = incoming.remote_address();
        match listener.accept(incoming) {
            Ok(handshake) => Some((handshake, slot)),
            Err(cause) => {
                if let Some(left_out) = state.log.of_stranger(peer.ip(), LineKind::Unfinished) {
                    let error = reset::connection_error(cause, ErrorKind::ConnectionLost);
                    let error = Brief(error.chain());
                    tracing::debug!(%peer, %error, left_out, "handshake failed");
                }
                None
            }
        }
    }
}
