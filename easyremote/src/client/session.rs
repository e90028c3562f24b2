//! A client's connection to one of its gateways: dialled while the keeper wants it, and reconnected
//! when it breaks.
//!
//! ```text
//!              wanted               reached
//!   (unwanted) ------> dialling -----------------> up
//!       ^                ^ ^                       | | |
//!       |                | +-- lost ---------------+ | |
//!       |                +---- told to leave --------+ |
//!       +--------------------- unwanted ---------------+
//! ```
//!
//! A connection that is told to leave, or is unwanted, is closed after its last call, beside the
//! next one (`leave`).

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind};
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::gateway_board::{GatewayBoard, GatewayStatus};
use crate::transport::io::farewell::GoodbyeGuard;
use crate::transport::io::{self, IoTask};
use crate::transport::live_connection::{IdleSignal, LiveConnection};
use crate::transport::quic::goodbye::ClosedEndpoint;
use crate::transport::quic::reset;
use crate::wire::control::Control;

/// The keeper's decision about a connection to a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionWanted {
    No,
    Yes {
        /// Whether it replaces a connection that was lost.
        again: bool,
    },
}

/// The connection to one gateway.
#[derive(Debug)]
pub(super) struct GatewaySession {
    /// The number of the gateway.
    pub(super) gateway: usize,
    pub(super) dialler: Dialler,
    pub(super) board: Arc<GatewayBoard>,
    pub(super) wanted: watch::Receiver<ConnectionWanted>,
    pub(super) stop: CancellationToken,
    /// Held until the gateway has been told that the client leaves; dropping the client waits for
    /// it.
    pub(super) guard: GoodbyeGuard,
}

/// Why a connection is no longer used.
enum SessionEnd {
    /// The client is closed.
    Stopped,
    /// The connection broke.
    Lost(Error),
    /// The keeper does not want it any more.
    Unwanted,
    /// The gateway is about to end, and accepts no new calls.
    SentAway,
}

impl GatewaySession {
    /// Keeps a connection up whenever the keeper wants one, until the client is closed.
    ///
    /// The first attempt is limited by `patience`; if it fails, the error goes to `given_up`.
    pub(super) async fn keep(mut self, patience: Duration, given_up: mpsc::Sender<Error>) {
        // Tasks of the connections that are being left, until their last calls have ended.
        let mut leaving = FuturesUnordered::new();
        let mut patience = Some(patience);
        while self.is_wanted().await {
            match self.dial(patience.take()).await {
                Some(Ok(dialled)) => self.serve(dialled, &mut leaving).await,
                Some(Err(error)) => {
                    // The receiver is gone once another gateway has been reached.
                    let _ = given_up.send(error).await;
                }
                None => {}
            }
            while leaving.next().now_or_never().flatten().is_some() {}
        }
        // Releases this session's guard. A task that still has to tell its gateway holds a clone.
        drop(self);
        while leaving.next().await.is_some() {}
    }

    /// Waits until a connection is wanted. Returns `false` if the client is closed.
    async fn is_wanted(&mut self) -> bool {
        let wanted = self.wanted.wait_for(|wanted| *wanted != ConnectionWanted::No);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            wanted = wanted => wanted.is_ok(),
        }
    }

    /// Dials while a connection is wanted. Returns `None` if it is not any more.
    async fn dial(&mut self, patience: Option<Duration>) -> Option<Result<Dialled, Error>> {
        let Self { gateway, dialler, board, wanted, stop, .. } = self;
        board.set_dialling(*gateway);
        let failed = |error: &Error, refused: bool| {
            board.set(*gateway, GatewayStatus::Down { error: error.clone(), refused });
        };
        tokio::select! {
            () = stop.cancelled() => None,
            // An error means that the keeper has ended.
            _ = wanted.wait_for(|wanted| *wanted == ConnectionWanted::No) => {
                board.set(*gateway, GatewayStatus::Unwanted);
                None
            }
            dialled = dialler.dial(patience, failed) => Some(dialled),
        }
    }

    /// Publishes a connection for calls, and starts to close it when it is no longer used.
    async fn serve(&mut self, mut dialled: Dialled, leaving: &mut FuturesUnordered<IoTask<()>>) {
        let again = *self.wanted.borrow() == ConnectionWanted::Yes { again: true };
        let (live, unused) = dialled.live(self.gateway, again);
        let live = Arc::new(live);
        self.board.set(self.gateway, GatewayStatus::Up(live.clone()));
        let end = self.stay(&mut dialled, &live).await;
        let drains = live.drains();
        // Before `leave`, which waits until the last user has dropped the connection. The copies of
        // the board and the keeper go with the new status below.
        drop(live);
        match end {
            SessionEnd::Stopped => {
                leaving.push(io::spawn(goodbye(dialled, true).await.drained()));
            }
            SessionEnd::Unwanted => {
                let status = if drains { draining() } else { GatewayStatus::Unwanted };
                self.board.set(self.gateway, status);
                leaving.push(io::spawn(leave(
                    dialled,
                    unused,
                    self.stop.clone(),
                    self.guard.clone(),
                )));
            }
            SessionEnd::SentAway => {
                info!(gateway = %self.dialler.target(), "the gateway shuts down; dialling its successor");
                self.dialler.expect_back(dialled.connection.rtt());
                self.board.set(self.gateway, draining());
                leaving.push(io::spawn(leave(
                    dialled,
                    unused,
                    self.stop.clone(),
                    self.guard.clone(),
                )));
            }
            SessionEnd::Lost(error) => {
                let refused = error.kind() == ErrorKind::Unauthenticated;
                warn!(gateway = %self.dialler.target(), error = %error.chain(), "connection to the gateway lost");
                if refused {
                    self.dialler.expelled();
                } else if error.kind() == ErrorKind::Draining {
                    self.dialler.expect_back(dialled.connection.rtt());
                }
                self.board.set(self.gateway, GatewayStatus::Down { error, refused });
                // Not kept until it is drained: the endpoint's driver sees to that in the
                // background, and the next connection is dialled at once.
                drop(goodbye(dialled, false).await);
            }
        }
    }

    /// Handles control messages while the connection is used. Returns why it is not any more.
    async fn stay(&mut self, dialled: &mut Dialled, live: &LiveConnection) -> SessionEnd {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return SessionEnd::Stopped,
                // An error means that the keeper has ended.
                _ = self.wanted.wait_for(|wanted| *wanted == ConnectionWanted::No) => {
                    return SessionEnd::Unwanted;
                }
                message = dialled.control.next() => match message {
                    Ok(Control::Draining) => {
                        info!(gateway = %self.dialler.target(), "the gateway drains");
                        // The flag first: those that `touch` wakes have to see it.
                        live.set_draining();
                        self.board.touch();
                    }
                    Ok(Control::Slow(slow)) => live.set_slow(slow.names),
                    Ok(Control::Leave) => return SessionEnd::SentAway,
                    Ok(message) => debug!(said = message.name(), "unexpected control message"),
                    Err(error) => return SessionEnd::Lost(error),
                },
            }
        }
    }
}

/// Returns the status of a gateway that is left because it drains.
fn draining() -> GatewayStatus {
    let error = Error::new(ErrorKind::Draining, "the gateway drains");
    GatewayStatus::Down { error, refused: false }
}

/// Closes a connection after its last call has ended, or when the client is closed.
async fn leave(
    mut dialled: Dialled,
    mut unused: IdleSignal,
    stop: CancellationToken,
    guard: GoodbyeGuard,
) {
    let for_good = loop {
        tokio::select! {
            () = stop.cancelled() => break true,
            () = unused.wait() => break false,
            // Reading control messages keeps the heartbeat going, so that calls on the connection
            // notice its loss.
            message = dialled.control.next() => match message {
                // Expected from a gateway that drains; the client is leaving already.
                Ok(Control::Draining | Control::Slow(_) | Control::Leave) => {}
                Ok(message) => debug!(said = message.name(), "unexpected control message"),
                Err(error) => {
                    debug!(error = %error.chain(), "connection lost while leaving the gateway");
                    break false;
                }
            },
        }
    };
    let closed = goodbye(dialled, for_good).await;
    drop(guard);
    closed.drained().await;
}

/// Closes the connection, which tells the gateway. The caller keeps the returned endpoint
/// while QUIC may have to send the close again.
///
/// If the client leaves `for_good`, it does not come back for its resumable streams.
async fn goodbye(dialled: Dialled, for_good: bool) -> ClosedEndpoint {
    let Dialled { endpoint, connection, .. } = dialled;
    let kind = if for_good { ErrorKind::Cancelled } else { ErrorKind::ConnectionLost };
    ClosedEndpoint::new(endpoint, connection, reset::code(kind), b"the client has left").await
}
