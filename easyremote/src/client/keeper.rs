//! Which of its gateways a client uses, and when it goes to another one.
//!
//! A client sends its calls to one gateway, its *home*: the first that answers. It connects to the
//! others when the home is lost, drains, or has refused a call (`Executed::No`), and closes these
//! connections after [`KEPT`] without use. The home changes
//!
//! | from a gateway that | to one that |
//! |---|---|
//! | is lost | is reached first; all are dialled |
//! | drains | does not, once it is reached |
//! | has refused several calls in a row | does not, once it is reached |
//!
//! Calls and streams that are under way stay where they are: a connection that is not wanted any
//! more is closed after the last of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
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
use crate::transport::live_connection::LiveConnection;
use crate::transport::quic::io_thread::GoodbyeGuard;

/// How long an unused connection to a gateway other than the home is kept.
const KEPT: Duration = Duration::from_secs(30);

/// How long a gateway is not dialled that was left because it drains, unless there is no other.
const AVOIDED: Duration = Duration::from_secs(5);

/// Decides which gateway a client uses.
#[derive(Debug)]
pub(super) struct Keeper {
    board: Arc<GatewayBoard>,
    /// One for each gateway.
    wanted: Vec<watch::Sender<ConnectionWanted>>,
    publish: watch::Sender<ConnectionState>,
    reconnects: Arc<AtomicU64>,
    home: Option<Arc<LiveConnection>>,
    /// Whether there has been a home.
    had_home: bool,
    /// What is published of the home: its gateway's draining is news too.
    home_drains: bool,
    /// Until when connections to the others are kept.
    others_until: Option<Instant>,
    /// Until when each gateway is not dialled beside the home.
    avoided: Vec<Option<Instant>>,
}

impl Keeper {
    /// `publish` hears of the home, and `reconnects` counts those after the first.
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

    /// Keeps a connection to one of the gateways until told to stop.
    ///
    /// The first attempts are limited by `patience`, and their outcome goes to `first`; if all of
    /// them fail, that is the end.
    pub(super) async fn run(
        mut self,
        diallers: Vec<Dialler>,
        patience: Duration,
        first: oneshot::Sender<Result<(), Error>>,
        (stop, guard): (CancellationToken, GoodbyeGuard),
    ) {
        let (mut sessions, n) = (JoinSet::new(), diallers.len());
        let (give_up, mut given_up) = mpsc::channel(1);
        for (gateway, dialler) in diallers.into_iter().enumerate() {
            let (wanted, is_wanted) = watch::channel(ConnectionWanted::Yes { again: false });
            let (board, stop, guard) = (self.board.clone(), stop.clone(), guard.clone());
            let session =
                GatewaySession { gateway, dialler, board, wanted: is_wanted, stop, guard };
            sessions.spawn(session.keep(patience, give_up.clone()));
            self.wanted.push(wanted);
            self.avoided.push(None);
        }
        let (mut first, mut failed) = (Some(first), 0);
        let mut changes = self.board.subscribe();
        loop {
            changes.mark_unchanged();
            self.settle();
            if self.home.is_some()
                && let Some(first) = first.take()
            {
                // Nobody waits any more if connecting was given up, and then `stop` follows.
                let _ = first.send(Ok(()));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                // The sender is in `self`.
                _ = changes.changed() => {}
                () = self.board.asked() => self.others_until = Some(Instant::now() + KEPT),
                () = passes(self.next_change()) => {}
                Some(error) = given_up.recv(), if first.is_some() => {
                    failed += 1;
                    if failed == n
                        && let Some(first) = first.take()
                    {
                        let _ = first.send(Err(error));
                        sessions.abort_all();
                        break;
                    }
                }
            }
        }
        self.home = None;
        self.publish.send_replace(ConnectionState::Closed);
        self.board.close(&closed());
        drop(guard);
        while sessions.join_next().await.is_some() {}
    }

    /// When something changes by itself.
    fn next_change(&self) -> Option<Instant> {
        self.avoided.iter().flatten().copied().chain(self.others_until).min()
    }

    /// Acts on what is known now.
    fn settle(&mut self) {
        let now = Instant::now();
        self.others_until.take_if(|until| *until <= now);
        for avoided in &mut self.avoided {
            avoided.take_if(|until| *until <= now);
        }
        let statuses = self.board.subscribe().borrow().clone();
        // Before the home changes: a connection that is made from now on follows a lost one.
        let home = self.choose(&statuses);
        self.publish(home, &statuses);
        self.want(&statuses, now);
    }

    /// The best home there is: the one that there was, if it is as good as any.
    fn choose(&self, statuses: &[GatewayStatus]) -> Option<Arc<LiveConnection>> {
        let worse =
            |live: &&Arc<LiveConnection>| (live.drains(), live.refuses(), !self.is_home(live));
        statuses.iter().filter_map(GatewayStatus::live).min_by_key(worse).cloned()
    }

    fn is_home(&self, live: &Arc<LiveConnection>) -> bool {
        self.home.as_ref().is_some_and(|home| Arc::ptr_eq(home, live))
    }

    /// Lets calls use `home`, or know that there is none.
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
            // Counted before anyone uses it.
            self.reconnects.fetch_add(u64::from(self.had_home), Ordering::Relaxed);
            if self.home.is_some() {
                info!(gateway = home.gateway, "calls go to another gateway of the list");
            }
        }
        (self.had_home, self.home_drains) = (true, drains);
        self.home = Some(home.clone());
        self.publish.send_replace(ConnectionState::Connected(home));
    }

    /// Says which connections are wanted.
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

/// The state of a client that has no home: calls wait for one, unless no gateway lets it in.
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
