//! A client's connection to a gateway: kept up for as long as the client lives.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::error::{Error, ErrorKind, Executed};
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::link::LinkState;
use crate::transport::reset;

/// Longest wait for the gateway to hear that the client leaves.
const FAREWELL: Duration = Duration::from_millis(100);

/// Keeps a connection to one of the gateways until told to stop.
///
/// The first attempt is limited by `patience`, and its outcome goes to `first`; if it fails, that
/// is the end.
pub(super) async fn keep(
    mut diallers: Vec<Dialler>,
    patience: Duration,
    first: oneshot::Sender<Result<(), Error>>,
    publish: watch::Sender<LinkState>,
    stop: CancellationToken,
) {
    let mut first = Some(first);
    loop {
        let limit = first.is_some().then_some(patience);
        let dialled = tokio::select! {
            () = stop.cancelled() => break,
            dialled = dial_any(&mut diallers, limit) => dialled,
        };
        let outcome = dialled.as_ref().map(|_| ()).map_err(Error::clone);
        if let Ok(dialled) = &dialled {
            publish.send_replace(LinkState::Connected(Arc::new(dialled.live())));
        }
        if let Some(first) = first.take() {
            // Nobody waits any more if connecting was given up, and then `stop` follows.
            let _ = first.send(outcome);
        }
        let Ok(dialled) = dialled else { break };
        match stay(dialled, &stop).await {
            Some(error) => warn!(%error, "connection to the gateway lost"),
            None => break,
        }
        publish.send_replace(LinkState::Connecting);
    }
    publish.send_replace(LinkState::Closed);
}

/// Dials all gateways at once; the first that answers is taken.
async fn dial_any(diallers: &mut [Dialler], patience: Option<Duration>) -> Result<Dialled, Error> {
    let mut dialling: FuturesUnordered<_> =
        diallers.iter_mut().map(|dialler| dialler.dial(patience)).collect();
    let mut outcome = Err(Error::new(ErrorKind::Unavailable, "there is no gateway to dial"));
    while let Some(dialled) = dialling.next().await {
        outcome = dialled;
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Stays connected until the connection breaks (why) or the client is to stop (`None`).
async fn stay(dialled: Dialled, stop: &CancellationToken) -> Option<Error> {
    let Dialled { endpoint, connection, mut control, .. } = dialled;
    let left = loop {
        tokio::select! {
            () = stop.cancelled() => break None,
            message = control.next() => match message {
                Ok(message) => debug!(?message, "unexpected control message"),
                Err(error) => break Some(error),
            },
        }
    };
    connection
        .close(reset::code(ErrorKind::ConnectionLost, Executed::Maybe), b"the client has left");
    let _ = tokio::time::timeout(FAREWELL, endpoint.wait_idle()).await;
    left
}
