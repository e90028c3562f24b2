//! Chooses the gateway that a client uses, and changes to another one.
//!
//! A client sends its calls to one gateway, its *home*: the first that answers. It connects to the
//! others when the home is lost, drains, or has refused a call (`Executed::No`), and closes these
//! connections after [`KEPT`] without use. The home changes when
//!
//! | the home                           | to                                                   |
//! |------------------------------------|------------------------------------------------------|
//! | is lost                            | the gateway that is reached first; all are dialled   |
//! | drains                             | a gateway that does not drain, once it is reached    |
//! | has refused several calls in a row | a gateway that has not, once it is reached           |
//!
//! Calls and streams in flight stay where they are: a connection that is no longer wanted is closed
//! after the last of them.
//!
//! The keeper decides, and one [`GatewaySession`] per gateway acts on it. `wanted` carries the
//! decisions to the sessions, and the [`GatewayBoard`] carries the state of the connections back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::call::deadline::passes;
use crate::client::errors::closed;
use crate::client::session::{ConnectionWanted, GatewaySession};
use crate::error::Error;
use crate::transport::connection::ConnectionState;
use crate::transport::dial::Dialler;
use crate::transport::gateway_board::{GatewayBoard, GatewayStatus};
use crate::transport::io;
use crate::transport::io::farewell::GoodbyeGuard;
use crate::transport::live_connection::LiveConnection;

/// How long an unused connection to a gateway other than the home is kept.
const KEPT: Duration = Duration::from_secs(30);

/// How long a gateway that drains is not dialled again after it was left, unless the client has no
/// connection at all.
const AVOIDED: Duration = Duration::from_secs(5);

/// Chooses the home among a client's gateways, and publishes the connection to it.
#[derive(Debug)]
pub(super) struct Keeper {
    board: Arc<GatewayBoard>,
    /// The decision for each gateway, read by its session.
    wanted: Vec<watch::Sender<ConnectionWanted>>,
    publish: watch::Sender<ConnectionState>,
    reconnects: Arc<AtomicU64>,
    home: Option<Arc<LiveConnection>>,
    /// Whether there has been a home.
    had_home: bool,
    /// Whether the home was draining when it was published last; a change is published again.
    home_drains: bool,
    /// Until when connections to the others are kept.
    others_until: Option<Instant>,
    /// Until when each gateway is not dialled while there is a home.
    avoided: Vec<Option<Instant>>,
}

impl Keeper {
    /// Creates a keeper that publishes the home to `publish`, and counts every home after the first
    /// in `reconnects`.
    pub(super) fn new(
        board: Arc<GatewayBoard>,
        publish: watch::Sender<ConnectionState>,
        reconnects: Arc<AtomicU64>,
    ) -> Self {
        Self {
            board,
            wanted: Vec::new(),
            publish,
            reconnects,
            home: None,
            had_home: false,
            home_drains: false,
            others_until: None,
            avoided: Vec::new(),
        }
    }

    /// Keeps a connection to one of the gateways until `stop` is cancelled.
    ///
    /// The first attempts are limited by `patience`, and their outcome goes to `first`. If all of
    /// them fail, the keeper ends.
    pub(super) async fn run(
        mut self,
        diallers: Vec<Dialler>,
        patience: Duration,
        first: oneshot::Sender<Result<(), Error>>,
        (stop, guard): (CancellationToken, GoodbyeGuard),
    ) {
        let (mut sessions, n) = (FuturesUnordered::new(), diallers.len());
        let (give_up, mut given_up) = mpsc::channel(1);
        for (gateway, dialler) in diallers.into_iter().enumerate() {
            let (wanted, is_wanted) = watch::channel(ConnectionWanted::Yes { again: false });
            let (board, stop, guard) = (self.board.clone(), stop.clone(), guard.clone());
            let session =
                GatewaySession { gateway, dialler, board, wanted: is_wanted, stop, guard };
            sessions.push(io::spawn(session.keep(patience, give_up.clone())));
            self.wanted.push(wanted);
            self.avoided.push(None);
        }
        let (mut first, mut failed) = (Some(first), 0);
        let mut changes = self.board.subscribe();
        loop {
            // Marked before the board is read: a change in between only causes another look, where
            // the reverse order would lose it.
            changes.mark_unchanged();
            self.settle();
            if self.home.is_some()
                && let Some(first) = first.take()
            {
                // Fails if the future of `connect` was dropped, and then `stop` follows.
                let _ = first.send(Ok(()));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                // Cannot fail: the sender is in `self`.
                _ = changes.changed() => {}
                () = self.board.asked() => self.others_until = Some(Instant::now() + KEPT),
                () = passes(self.next_change()) => {}
                Some(error) = given_up.recv(), if first.is_some() => {
                    failed += 1;
                    if failed == n
                        && let Some(first) = first.take()
                    {
                        let _ = first.send(Err(error));
                        sessions.clear();
                        break;
                    }
                }
            }
        }
        // Drops every reference to the connection, and fails the calls that wait for one. The guard
        // goes before the join: a drop of the client waits until the gateways have been told, but
        // not until QUIC has drained the connections.
        self.home = None;
        self.publish.send_replace(ConnectionState::Closed);
        self.board.close(&closed());
        drop(guard);
        while sessions.next().await.is_some() {}
    }

    /// Returns when the next decision is due without any event.
    fn next_change(&self) -> Option<Instant> {
        self.avoided.iter().flatten().copied().chain(self.others_until).min()
    }

    /// Makes all decisions anew, from the current state of the connections.
    fn settle(&mut self) {
        let now = Instant::now();
        self.others_until.take_if(|until| *until <= now);
        for avoided in &mut self.avoided {
            avoided.take_if(|until| *until <= now);
        }
        let statuses = self.board.subscribe().borrow().clone();
        // `want` last: it depends on the home that `publish` has set.
        let home = self.choose(&statuses);
        self.publish(home, &statuses);
        self.want(&statuses, now);
    }

    /// Returns the best connection, or `None` if no gateway is connected. The current home wins a
    /// tie, so that calls do not move without a reason.
    fn choose(&self, statuses: &[GatewayStatus]) -> Option<Arc<LiveConnection>> {
        let worse =
            |live: &&Arc<LiveConnection>| (live.drains(), live.refuses(), !self.is_home(live));
        statuses.iter().filter_map(GatewayStatus::live).min_by_key(worse).cloned()
    }

    fn is_home(&self, live: &Arc<LiveConnection>) -> bool {
        self.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, live))
    }

    /// Publishes `home` to the calls, or why there is no connection.
    fn publish(&mut self, home: Option<Arc<LiveConnection>>, statuses: &[GatewayStatus]) {
        let Some(home) = home else {
            (self.home, self.home_drains) = (None, false);
            self.publish.send_replace(unconnected(statuses));
            return;
        };
        let drains = home.drains();
        if self.is_home(&home) && self.home_drains == drains {
            return;
        }
        if !self.is_home(&home) {
            // Before it is published, so that no call can see the new home and the old count.
            self.reconnects.fetch_add(u64::from(self.had_home), Ordering::Relaxed);
            if self.home.is_some() {
                info!(gateway = home.gateway, "calls go to another gateway of the list");
            }
        }
        (self.had_home, self.home_drains) = (true, drains);
        self.home = Some(home.clone());
        self.publish.send_replace(ConnectionState::Connected(home));
    }

    /// Tells each session whether its connection is wanted.
    fn want(&mut self, statuses: &[GatewayStatus], now: Instant) {
        let others = self.others_until.is_some() || self.home_drains;
        for (gateway, status) in statuses.iter().enumerate() {
            let wanted = match &self.home {
                None => true,
                Some(home) if home.gateway == gateway => true,
                Some(_) => {
                    if status.live().is_some_and(|live| live.drains()) {
                        self.avoided[gateway] = Some(now + AVOIDED);
                    }
                    others && self.avoided[gateway].is_none()
                }
            };
            let again = self.home.is_none() && self.had_home;
            let wanted =
                if wanted { ConnectionWanted::Yes { again } } else { ConnectionWanted::No };
            self.wanted[gateway].send_if_modified(|was| std::mem::replace(was, wanted) != wanted);
        }
    }
}

/// Returns the state of a client without a home: calls wait for one, unless every gateway rejects
/// the client.
fn unconnected(statuses: &[GatewayStatus]) -> ConnectionState {
    let refusal = |status: &GatewayStatus| match status {
        GatewayStatus::Down { error, refused: true } => Some(error.clone()),
        _ => None,
    };
    let refusals: Option<Vec<Error>> = statuses.iter().map(refusal).collect();
    match refusals.and_then(|mut refusals| refusals.pop()) {
        Some(error) => ConnectionState::Refused(error),
        None => ConnectionState::Connecting,
    }
}
