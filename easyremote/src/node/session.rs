//! A node's connection to one gateway: kept up, and served.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind, Executed};
use crate::gauge::Gauge;
use crate::node::{Shared, dispatch};
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::link::{Link, LinkState};
use crate::transport::reset;
use crate::transport::stream::halves;
use crate::wire::control::Control;

/// Longest wait for the gateway to hear that the node leaves.
const FAREWELL: Duration = Duration::from_millis(100);

/// Stays registered at one gateway until told to stop.
///
/// The outcome of the first attempt, which is limited by `patience`, goes to `first`. After that
/// the gateway is dialled without limit, whether it was lost or was never there: if no gateway
/// could be reached, `stop` follows.
pub(super) async fn keep(
    mut dialler: Dialler,
    shared: Arc<Shared>,
    patience: Duration,
    first: mpsc::Sender<Result<(), Error>>,
    stop: CancellationToken,
) {
    let (publish, state) = watch::channel(LinkState::Connecting);
    let link = Link::new(Handle::current(), state, shared.connect_timeout, shared.max_message);
    let link = match link {
        Ok(link) => Arc::new(link),
        Err(error) => {
            let _ = first.send(Err(error)).await;
            return;
        }
    };
    let mut first = Some(first);
    loop {
        let limit = first.is_some().then_some(patience);
        let dialled = tokio::select! {
            () = stop.cancelled() => return,
            () = shared.draining.cancelled() => return,
            dialled = dialler.dial(limit) => dialled,
        };
        let outcome = dialled.as_ref().map(|_| ()).map_err(Error::clone);
        // Counted before anyone is told.
        let _registered = dialled.is_ok().then(|| Gauge::up(&shared.counters.gateways));
        if let Some(first) = first.take() {
            // Nobody waits any more if the start was given up.
            let _ = first.send(outcome).await;
        }
        let Ok(dialled) = dialled else { continue };
        info!(gateway = %dialler.target(), id = %shared.id, "registered");
        // Hears `stop` by itself, and says goodbye before it returns.
        let (live, _) = dialled.live();
        publish.send_replace(LinkState::Connected(Arc::new(live)));
        let error = serve(dialled, &shared, &link, &stop).await;
        if stop.is_cancelled() || shared.draining.is_cancelled() {
            publish.send_replace(LinkState::Closed);
            return;
        }
        publish.send_replace(LinkState::Connecting);
        warn!(gateway = %dialler.target(), %error, "connection lost");
    }
}

/// Runs the calls that come over one connection, until it ends.
async fn serve(
    dialled: Dialled,
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    stop: &CancellationToken,
) -> Error {
    let Dialled { endpoint, connection, mut control, max_message } = dialled;
    // Ended with the session: nobody is left to get the answers.
    let mut calls = JoinSet::new();
    let (mut told, mut drained) = (false, false);
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
            stream = connection.accept_bi() => match stream {
                Ok(stream) => {
                    shared.counters.calls.fetch_add(1, Ordering::Relaxed);
                    let (shared, link) = (shared.clone(), link.clone());
                    let stream = halves(stream, control.credits());
                    calls.spawn(dispatch::serve(stream, shared, link, max_message));
                }
                Err(cause) => break reset::connection_error(cause, ErrorKind::ConnectionLost),
            },
            message = control.next() => match message {
                // The gateway has all answers, and gives this node no more calls.
                Ok(Control::Drained) => drained = true,
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
    connection.close(reset::code(ErrorKind::NodeLost, Executed::Maybe), b"the node has left");
    let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    left
}
