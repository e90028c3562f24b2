//! A client's connection to a gateway: kept up for as long as the client lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind};
use crate::transport::connection::{ConnectionState, IdleSignal};
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::quic::goodbye::ClosedEndpoint;
use crate::transport::quic::io_thread::GoodbyeGuard;
use crate::transport::quic::reset;
use crate::wire::control::Control;

/// Keeps a connection to one of the gateways until told to stop.
///
/// The first attempt is limited by `patience`, and its outcome goes to `first`; if it fails, that
/// is the end.
pub(super) async fn keep(
    mut diallers: Vec<Dialler>,
    patience: Duration,
    first: oneshot::Sender<Result<(), Error>>,
    publish: watch::Sender<ConnectionState>,
    reconnects: Arc<AtomicU64>,
    (stop, guard): (CancellationToken, GoodbyeGuard),
) {
    let mut first = Some(first);
    // Connections to gateways that drain, until their last calls have ended.
    let mut leaving = JoinSet::new();
    loop {
        let limit = first.is_some().then_some(patience);
        let dialled = tokio::select! {
            () = stop.cancelled() => break,
            dialled = dial_any(&mut diallers, limit, &publish) => dialled,
        };
        let outcome = dialled.as_ref().map(|_| ()).map_err(Error::clone);
        let again = first.is_none();
        let connected = dialled.as_ref().ok();
        let unused =
            connected.map(|(_, dialled)| publish_live(dialled, again, &publish, &reconnects));
        if let Some(first) = first.take() {
            // Nobody waits any more if connecting was given up, and then `stop` follows.
            let _ = first.send(outcome);
        }
        let (Ok((which, mut dialled)), Some(unused)) = (dialled, unused) else { break };
        let left = stay(&mut dialled, &stop).await;
        match left {
            SessionEnd::Stopped => {
                leaving.spawn(goodbye(dialled).await.drained());
                break;
            }
            SessionEnd::Lost(error) => {
                let expelled = error.kind() == ErrorKind::Unauthenticated;
                publish.send_replace(match expelled && diallers.len() == 1 {
                    true => ConnectionState::Refused(error.clone()),
                    false => ConnectionState::Connecting,
                });
                warn!(error = %error.chain(), "connection to the gateway lost");
                if expelled {
                    diallers[which].expelled();
                }
                // QUIC sees to the rest of it on its own.
                drop(goodbye(dialled).await);
            }
            SessionEnd::Draining => {
                publish.send_replace(ConnectionState::Connecting);
                info!("the gateway drains; looking for it, or another one, anew");
                leaving.spawn(leave(dialled, unused, stop.clone(), guard.clone()));
            }
        }
        while leaving.try_join_next().is_some() {}
    }
    publish.send_replace(ConnectionState::Closed);
    drop(guard);
    while leaving.join_next().await.is_some() {}
}

/// Lets calls use a connection. What is returned tells when none does any more.
fn publish_live(
    dialled: &Dialled,
    again: bool,
    publish: &watch::Sender<ConnectionState>,
    reconnects: &AtomicU64,
) -> IdleSignal {
    // Counted before anyone uses it.
    reconnects.fetch_add(u64::from(again), Ordering::Relaxed);
    let (live, unused) = dialled.live(again);
    publish.send_replace(ConnectionState::Connected(Arc::new(live)));
    unused
}

/// Dials all gateways at once; the first that answers is taken. Publishes it if all have refused.
async fn dial_any(
    diallers: &mut [Dialler],
    patience: Option<Duration>,
    publish: &watch::Sender<ConnectionState>,
) -> Result<(usize, Dialled), Error> {
    let refused = Mutex::new(vec![false; diallers.len()]);
    let failed = |which: usize, error: &Error, refusal: bool| {
        // Nothing panics in between.
        let mut refused = refused.lock();
        refused[which] = refusal;
        publish.send_replace(match refused.iter().all(|refused| *refused) {
            true => ConnectionState::Refused(error.clone()),
            false => ConnectionState::Connecting,
        });
    };
    let failed = &failed;
    let mut dialling: FuturesUnordered<_> = diallers
        .iter_mut()
        .enumerate()
        .map(|(which, dialler)| async move {
            let dialled = dialler.dial(patience, |error, refusal| failed(which, error, refusal));
            Ok((which, dialled.await?))
        })
        .collect();
    let mut outcome = Err(Error::new(ErrorKind::Unavailable, "there is no gateway to dial"));
    while let Some(dialled) = dialling.next().await {
        outcome = dialled;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Why a connection is not used any more.
enum SessionEnd {
    /// The client is to stop.
    Stopped,
    /// It broke.
    Lost(Error),
    /// The gateway takes no new calls, and finishes those that it has.
    Draining,
}

/// Stays connected for as long as the connection is to be used.
async fn stay(dialled: &mut Dialled, stop: &CancellationToken) -> SessionEnd {
    loop {
        tokio::select! {
            () = stop.cancelled() => return SessionEnd::Stopped,
            message = dialled.control.next() => match message {
                Ok(Control::Draining) => return SessionEnd::Draining,
                Ok(message) => debug!(said = message.name(), "unexpected control message"),
                Err(error) => return SessionEnd::Lost(error),
            },
        }
    }
}

/// Leaves a gateway that drains, after the last call on its connection.
async fn leave(
    mut dialled: Dialled,
    mut unused: IdleSignal,
    stop: CancellationToken,
    guard: GoodbyeGuard,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = unused.wait() => break,
            // The heartbeat goes on.
            message = dialled.control.next() => match message {
                Ok(message) => debug!(said = message.name(), "unexpected control message"),
                Err(error) => {
                    debug!(error = %error.chain(), "a gateway that drains has left");
                    break;
                }
            },
        }
    }
    let closed = goodbye(dialled).await;
    drop(guard);
    closed.drained().await;
}

/// Closes the connection, and tells the gateway. What this returns is kept for as long as it may be
/// told again.
async fn goodbye(dialled: Dialled) -> ClosedEndpoint {
    let Dialled { endpoint, connection, .. } = dialled;
    let code = reset::code(ErrorKind::ConnectionLost);
    ClosedEndpoint::new(endpoint, connection, code, b"the client has left").await
}
