//! A node's connection to one gateway: kept up, and served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, Executed};
use crate::gauge::Gauge;
use crate::node::NodeState;
use crate::node::exec::streams;
use crate::node::tags::TagSync;
use crate::transport::connection::{ConnectionState, ManagedConnection};
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::quic::reset;
use crate::transport::quic::stream::halves;
use crate::transport::quic::windows::StreamWindows;
use crate::transport::quinn_ext::congestion;
use crate::wire::control::Control;

/// Longest wait for the gateway to hear that the node leaves.
const FAREWELL: Duration = Duration::from_millis(100);

/// One connection, as the calls see it that come over it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) shared: Arc<NodeState>,
    /// For the calls that the functions make.
    pub(super) link: Arc<ManagedConnection>,
    pub(super) connection: quinn::Connection,
    /// For the streams of that.
    pub(super) credits: Arc<StreamWindows>,
    /// Longest message that both sides allow, in bytes.
    pub(super) max_message: usize,
    /// The gateway has opened its mux.
    pub(super) has_mux: AtomicBool,
}

/// Stays registered at one gateway until told to stop.
///
/// The outcome of the first attempt, which is limited by `patience`, goes to `first`. After that
/// the gateway is dialled without limit, whether it was lost or was never there: if no gateway
/// could be reached, `stop` follows.
pub(super) async fn keep(
    mut dialler: Dialler,
    gateway: usize,
    shared: Arc<NodeState>,
    patience: Duration,
    first: mpsc::Sender<Result<(), Error>>,
    stop: CancellationToken,
) {
    let (publish, state) = watch::channel(ConnectionState::Connecting);
    let link = ManagedConnection::new(
        Handle::current(),
        state,
        shared.connect_timeout,
        shared.max_message,
    );
    let link = match link {
        Ok(link) => Arc::new(link),
        Err(error) => {
            let _ = first.send(Err(error)).await;
            return;
        }
    };
    let (mut first, mut again) = (Some(first), false);
    loop {
        let limit = first.is_some().then_some(patience);
        let mut tags = shared.tags.before_registration(gateway);
        let failed = |error: &Error, refused: bool| {
            publish.send_replace(match refused {
                true => ConnectionState::Refused(error.clone()),
                false => ConnectionState::Connecting,
            });
        };
        let dialled = tokio::select! {
            () = stop.cancelled() => return,
            () = shared.draining.cancelled() => return,
            dialled = dialler.dial(limit, failed) => dialled,
        };
        let outcome = dialled.as_ref().map(|_| ()).map_err(Error::clone);
        // CallGuard before anyone is told, who may change the tags then.
        let _registered = dialled.is_ok().then(|| {
            tags.registered();
            Gauge::up(&shared.counters.gateways)
        });
        if let Some(first) = first.take() {
            // Nobody waits any more if the start was given up.
            let _ = first.send(outcome).await;
        }
        let Ok(dialled) = dialled else { continue };
        info!(gateway = %dialler.target(), id = %shared.id, "registered");
        // Hears `stop` by itself, and says goodbye before it returns.
        let (live, _) = dialled.live(again);
        link.reconnects.fetch_add(u64::from(again), Ordering::Relaxed);
        again = true;
        publish.send_replace(ConnectionState::Connected(Arc::new(live)));
        let error = serve(dialled, &shared, tags, &link, &stop).await;
        if stop.is_cancelled() || shared.draining.is_cancelled() {
            publish.send_replace(ConnectionState::Closed);
            return;
        }
        if error.kind() == ErrorKind::Unauthenticated {
            dialler.expelled();
            publish.send_replace(ConnectionState::Refused(error.clone()));
        } else {
            publish.send_replace(ConnectionState::Connecting);
        }
        warn!(gateway = %dialler.target(), %error, "connection lost");
    }
}

/// Runs the calls that come over one connection, until it ends.
async fn serve(
    dialled: Dialled,
    shared: &Arc<NodeState>,
    mut tags: TagSync<'_>,
    link: &Arc<ManagedConnection>,
    stop: &CancellationToken,
) -> Error {
    let Dialled { endpoint, connection, mut control, max_message, .. } = dialled;
    let session = Arc::new(Session {
        shared: shared.clone(),
        link: link.clone(),
        connection: connection.clone(),
        credits: control.credits().clone(),
        max_message,
        has_mux: AtomicBool::new(false),
    });
    // Ended with the session: nobody is left to get the answers.
    let mut calls = JoinSet::new();
    let (mut told, mut drained) = (false, false);
    let mut load = shared.load.subscribe();
    // What is known already is said at once.
    load.mark_changed();
    let places = shared.concurrency.try_into().unwrap_or(u32::MAX);
    let left = loop {
        tokio::select! {
            () = stop.cancelled() => break Error::new(ErrorKind::Cancelled, "the node shuts down"),
            () = shared.draining.cancelled(), if !told => {
                told = true;
                if let Err(error) = control.queue(&Control::Draining) {
                    break error;
                }
            }
            retag = tags.changed() => {
                if let Err(error) = control.queue(&Control::Retag(retag)) {
                    break error;
                }
            }
            // The sender is in `shared`.
            Ok(()) = load.changed() => {
                if let Some(load) = *load.borrow_and_update() {
                    control.note(Control::Load(load));
                }
            }
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    let stream = halves(stream, &session.credits);
                    calls.spawn(streams::serve(stream, session.clone()));
                }
                Err(cause) => break reset::connection_error(cause, ErrorKind::ConnectionLost),
            },
            message = control.next() => match message {
                // The gateway has all answers, and gives this node no more calls.
                Ok(Control::Drained) => drained = true,
                Ok(Control::Retagged(number)) => tags.are(number),
                Ok(message) => debug!(?message, "unexpected control message"),
                Err(error) => break error,
            },
            // What runs on without a caller has its place still, and may make calls.
            _ = shared.running.acquire_many(places), if drained => {
                break Error::new(ErrorKind::Draining, "the node is drained");
            }
            Some(_) = calls.join_next(), if !calls.is_empty() => {}
        }
    };
    let code = reset::code(ErrorKind::NodeLost, Executed::Maybe);
    congestion::close(&connection, code, b"the node has left");
    let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    left
}
