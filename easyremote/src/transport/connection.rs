//! A connection to a gateway that is re-established after a loss, as seen by its calls.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::call::executed::Evidence;
use crate::call::hedge_budget::HedgeBudget;
use crate::call::retry_budget::RetryBudget;
use crate::error::{Error, ErrorKind};
use crate::gauge::{Gauge, MemoryCharge};
use crate::transport::auth::identity::random;
use crate::transport::call_stats::CallStats;
use crate::transport::gateway_board::GatewayBoard;
use crate::transport::io::{IoTask, TaskSet};
use crate::transport::live_connection::LiveConnection;
use crate::transport::mismatches::Mismatches;
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::header::CallId;
use crate::wire::limits::{
    MAX_QUEUED, MAX_QUEUED_BYTES, MAX_UNFINISHED_ANSWERS, MessageLimits, STALL_TIMEOUT,
};

/// A managed connection: what a client's calls need of it, or those of a node's functions, while a
/// keeper task re-establishes it after a loss.
#[derive(Debug)]
pub(crate) struct ManagedConnection {
    /// The tasks of the role that owns the connection: everything that touches its streams is one of
    /// them.
    io: Arc<TaskSet>,
    state: watch::Receiver<ConnectionState>,
    /// Maximum time to wait for the connection, and then for a stream on it.
    pub(crate) connect_timeout: Duration,
    /// Message limits of this side.
    pub(crate) limits: MessageLimits,
    /// How long a stream is kept if nothing is read although data is available.
    pub(crate) stall_timeout: Duration,
    pub(crate) retries: RetryBudget,
    pub(crate) hedges: HedgeBudget,
    pub(crate) room: Arc<ReassemblyBudget>,
    /// The functions that are called by name for a while.
    pub(crate) mismatches: Mismatches,
    /// Calls that wait for the connection, and the size of their arguments in bytes.
    queued: AtomicU64,
    queued_bytes: Arc<AtomicU64>,
    pub(super) tally: CallStats,
    /// Connections made after the first one; counted by the keeper.
    pub(crate) reconnects: Arc<AtomicU64>,
    /// The gateways, if there are several.
    pub(crate) gateways: Option<Arc<GatewayBoard>>,
}

/// State of a managed connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionState {
    /// Not connected; calls wait.
    Connecting,
    /// Not connected, because no gateway admits this peer. This needs human intervention, so calls
    /// do not wait for it.
    Refused(Error),
    /// Connected. A call keeps the `Arc` until it ends, so that the keeper can tell when the
    /// connection is idle.
    Connected(Arc<LiveConnection>),
    /// Closed for good.
    Closed,
}

/// Requirements of a call on its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionNeed {
    /// Memory that the call holds while it waits, in bytes.
    pub(crate) bytes: usize,
    /// Whether the call is retried.
    pub(crate) again: bool,
    /// Whether the call may take long, so that a draining gateway would have to wait for it.
    pub(crate) lasting: bool,
}

impl ManagedConnection {
    /// Creates a connection whose keeper runs on `io` and publishes its state.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no random numbers.
    pub(crate) fn new(
        io: Arc<TaskSet>,
        state: watch::Receiver<ConnectionState>,
        connect_timeout: Duration,
        limits: MessageLimits,
    ) -> Result<Self, Error> {
        // The per-thread generators are seeded from the same source, and panic without it.
        let _: [u8; 16] = random()?;
        Ok(Self {
            io,
            state,
            connect_timeout,
            limits,
            stall_timeout: STALL_TIMEOUT,
            retries: RetryBudget::default(),
            hedges: HedgeBudget::default(),
            room: Arc::new(ReassemblyBudget::new(MAX_UNFINISHED_ANSWERS, limits.max_message)),
            mismatches: Mismatches::default(),
            queued: AtomicU64::new(0),
            queued_bytes: Arc::default(),
            tally: CallStats::default(),
            reconnects: Arc::default(),
            gateways: None,
        })
    }

    /// Returns a random id for a call: unique, and unpredictable for a party that has seen other
    /// ids, because a node rejects an id that has been used. This costs less than a counter shared
    /// by threads.
    pub(crate) fn next_call_id(&self) -> CallId {
        rand::random::<u128>().to_be_bytes()
    }

    /// Runs `task` beside the connection.
    pub(crate) fn spawn<F>(&self, task: F) -> IoTask<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.io.spawn(task)
    }

    /// Returns the number of calls that wait for the connection, and the size of their arguments in
    /// bytes.
    pub(crate) fn queued(&self) -> (u64, u64) {
        (self.queued.load(Ordering::Relaxed), self.queued_bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Connected(_))
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Closed)
    }

    /// Waits until the connection is closed for good.
    pub(crate) async fn closed(&self) {
        let mut state = self.state.clone();
        // An error means that the keeper, which holds the sender, is gone.
        let _ = state.wait_for(|state| matches!(state, ConnectionState::Closed)).await;
    }

    /// Returns the connection, if there is one now.
    pub(crate) fn live(&self) -> Option<Arc<LiveConnection>> {
        match &*self.state.borrow() {
            ConnectionState::Connected(live) => Some(live.clone()),
            _ => None,
        }
    }

    /// Waits for a connection, for at most `connect_timeout`. Time during which a call must wait
    /// for a draining gateway does not count; that gateway limits it.
    ///
    /// # Errors
    /// `Overloaded` if too many calls wait already; `Unavailable` if there is no connection in
    /// time; `ConnectionLost` if the connection is closed for good; the gateway's error if it
    /// refuses this peer.
    pub(crate) async fn connection(
        &self,
        need: ConnectionNeed,
    ) -> Result<Arc<LiveConnection>, Error> {
        let closed = || Error::new(ErrorKind::ConnectionLost, "the client has been closed");
        // Treat a broken connection as absent, even if its keeper has not noticed yet.
        let is_up = |live: &LiveConnection| live.connection.close_reason().is_none();
        let usable = |state: &ConnectionState| match state {
            ConnectionState::Connecting => false,
            ConnectionState::Connected(live) => is_up(live) && !(need.lasting && live.drains()),
            ConnectionState::Refused(_) | ConnectionState::Closed => true,
        };
        let drains = |state: &ConnectionState| match state {
            ConnectionState::Connected(live) => is_up(live) && live.drains(),
            _ => false,
        };
        let live = |state: &ConnectionState| match state {
            ConnectionState::Connected(live) => Ok(live.clone()),
            ConnectionState::Refused(error) => Err(error.clone().with_evidence(Evidence::NotSent)),
            ConnectionState::Connecting | ConnectionState::Closed => Err(closed()),
        };
        // Fast path: no waiting, so the call is not counted as queued.
        {
            let now = self.state.borrow();
            if usable(&now) {
                return live(&now);
            }
        }
        let _parked = self.park(need)?;
        let mut state = self.state.clone();
        if need.lasting {
            // An error means that the keeper is gone, which the next wait reports.
            let _ = state.wait_for(|state| !drains(state)).await;
        }
        let limit = self.connect_timeout;
        match timeout(limit, state.wait_for(usable)).await {
            Ok(Ok(state)) => live(&state),
            Ok(Err(_)) => Err(closed()),
            Err(_) => {
                let text = format!("no connection to the gateway within {limit:?}");
                Err(Error::new(ErrorKind::Unavailable, text))
            }
        }
    }

    /// Reserves a place for a waiting call and its arguments.
    fn park(&self, need: ConnectionNeed) -> Result<(Gauge<'_>, MemoryCharge), Error> {
        let place = Gauge::up(&self.queued);
        let limit = if need.again { u64::MAX } else { MAX_QUEUED_BYTES };
        let mut charge = MemoryCharge::new(&self.queued_bytes, limit);
        let (fits, queued) = (charge.grow_to(need.bytes), self.queued.load(Ordering::Relaxed));
        // One call may always wait, however long its arguments are. So may retried calls, whose
        // number is limited elsewhere.
        if need.again || queued == 1 || (fits && queued <= MAX_QUEUED) {
            return Ok((place, charge));
        }
        let text = format!(
            "not connected to a gateway, and {MAX_QUEUED} calls, or calls with {} MiB of \
             arguments, are waiting already",
            MAX_QUEUED_BYTES >> 20
        );
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(250)))
    }
}
