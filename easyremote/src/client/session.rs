//! A client's connection to one of its gateways: made when it is wanted, and kept up for as long.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::error::{Error, ErrorKind};
use crate::transport::dial::{Dialled, Dialler};
use crate::transport::gateway_board::{GatewayBoard, GatewayStatus};
use crate::transport::live_connection::{IdleSignal, LiveConnection};
use crate::transport::quic::goodbye::ClosedEndpoint;
use crate::transport::quic::io_thread::GoodbyeGuard;
use crate::transport::quic::reset;
use crate::wire::control::Control;

/// Whether a connection to a gateway is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionWanted {
    No,
    /// `again` says that it takes the place of one that was lost.
    Yes {
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
    /// Held until every gateway has been told that the client leaves.
    pub(super) guard: GoodbyeGuard,
}

/// Why a connection is not used any more.
enum SessionEnd {
    /// The client is to stop.
    Stopped,
    /// It broke.
    Lost(Error),
    /// Nobody wants it.
    Unwanted,
    /// The gateway is about to end, and takes no new calls.
    SentAway,
}

impl GatewaySession {
    /// Keeps a connection up whenever one is wanted, until told to stop.
    ///
    /// The first attempt is limited by `patience`; if it fails, `given_up` hears why.
    pub(super) async fn keep(mut self, patience: Duration, given_up: mpsc::Sender<Error>) {
        // Connections that are left, until their last calls have ended.
        let mut leaving = JoinSet::new();
        let mut patience = Some(patience);
        while self.is_wanted().await {
            match self.dial(patience.take()).await {
                Some(Ok(dialled)) => self.serve(dialled, &mut leaving).await,
                Some(Err(error)) => {
                    // If nobody listens, another gateway has been reached.
                    let _ = given_up.send(error).await;
                }
                None => {}
            }
            while leaving.try_join_next().is_some() {}
        }
        drop(self);
        while leaving.join_next().await.is_some() {}
    }

    /// Waits until a connection is wanted; `false` if none will be.
    async fn is_wanted(&mut self) -> bool {
        let wanted = self.wanted.wait_for(|wanted| *wanted != ConnectionWanted::No);
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            wanted = wanted => wanted.is_ok(),
        }
    }

    /// Dials for as long as a connection is wanted; `None` if it is not any more.
    async fn dial(&mut self, patience: Option<Duration>) -> Option<Result<Dialled, Error>> {
        let Self { gateway, dialler, board, wanted, stop, .. } = self;
        board.set_dialling(*gateway);
        let failed = |error: &Error, refused: bool| {
            board.set(*gateway, GatewayStatus::Down { error: error.clone(), refused });
        };
        tokio::select! {
            () = stop.cancelled() => None,
            // An error says that the keeper is gone.
            _ = wanted.wait_for(|wanted| *wanted == ConnectionWanted::No) => {
                board.set(*gateway, GatewayStatus::Unwanted);
                None
            }
            dialled = dialler.dial(patience, failed) => Some(dialled),
        }
    }

    /// Lets calls use a connection for as long as it is to be used.
    async fn serve(&mut self, mut dialled: Dialled, leaving: &mut JoinSet<()>) {
        let again = *self.wanted.borrow() == ConnectionWanted::Yes { again: true };
        let (live, unused) = dialled.live(self.gateway, again);
        let live = Arc::new(live);
        self.board.set(self.gateway, GatewayStatus::Up(live.clone()));
        let end = self.stay(&mut dialled, &live).await;
        let drains = live.drains();
        drop(live);
        match end {
            SessionEnd::Stopped => {
                leaving.spawn(goodbye(dialled).await.drained());
            }
            SessionEnd::Unwanted => {
                let status = if drains { draining() } else { GatewayStatus::Unwanted };
                self.board.set(self.gateway, status);
                leaving.spawn(leave(dialled, unused, self.stop.clone(), self.guard.clone()));
            }
            SessionEnd::SentAway => {
                info!(gateway = %self.dialler.target(), "the gateway ends; looking for its successor");
                self.dialler.expect_back(dialled.connection.rtt());
                self.board.set(self.gateway, draining());
                leaving.spawn(leave(dialled, unused, self.stop.clone(), self.guard.clone()));
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
                // QUIC sees to the rest of it on its own.
                drop(goodbye(dialled).await);
            }
        }
    }

    /// Stays connected for as long as the connection is to be used.
    async fn stay(&mut self, dialled: &mut Dialled, live: &LiveConnection) -> SessionEnd {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return SessionEnd::Stopped,
                // An error says that the keeper is gone.
                _ = self.wanted.wait_for(|wanted| *wanted == ConnectionWanted::No) => {
                    return SessionEnd::Unwanted;
                }
                message = dialled.control.next() => match message {
                    Ok(Control::Draining) => {
                        info!(gateway = %self.dialler.target(), "the gateway drains");
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

/// The status of a gateway that drains, and is left.
fn draining() -> GatewayStatus {
    let error = Error::new(ErrorKind::Draining, "the gateway drains");
    GatewayStatus::Down { error, refused: false }
}

/// Leaves a gateway after the last call on its connection.
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
                // Which it is about to do.
                Ok(Control::Draining | Control::Slow(_) | Control::Leave) => {}
                Ok(message) => debug!(said = message.name(), "unexpected control message"),
                Err(error) => {
                    debug!(error = %error.chain(), "a gateway that is left is gone");
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
