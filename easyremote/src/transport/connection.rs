//! A connection to a gateway that is kept up, as those see it who open calls on it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::call::executed::Evidence;
use crate::call::retry_budget::RetryBudget;
use crate::error::{Error, ErrorKind};
use crate::gauge::{Gauge, MemoryCharge};
use crate::transport::auth::identity::random;
use crate::transport::call_stats::CallStats;
use crate::transport::gateway_board::GatewayBoard;
use crate::transport::live_connection::LiveConnection;
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::header::CallId;
use crate::wire::limits::{
    MAX_PARKED, MAX_PARKED_BYTES, MAX_UNFINISHED_ANSWERS, MessageLimits, STALL_TIMEOUT,
};

/// What calls need of a connection that somebody else keeps up: a client, or a node for the calls
/// of its functions.
#[derive(Debug)]
pub(crate) struct ManagedConnection {
    /// Of the thread that owns the connection: everything that touches its streams runs there.
    io: Handle,
    state: watch::Receiver<ConnectionState>,
    /// Longest wait for the connection, and then for a stream on it.
    pub(crate) connect_timeout: Duration,
    /// What this side allows for one message.
    pub(crate) limits: MessageLimits,
    /// Longest time that a stream is kept of which nothing is read although there is something.
    pub(crate) stall_timeout: Duration,
    pub(crate) retries: RetryBudget,
    pub(crate) room: Arc<ReassemblyBudget>,
    /// Calls that wait for the connection, and the bytes of their arguments.
    parked: AtomicU64,
    parked_bytes: Arc<AtomicU64>,
    pub(super) tally: CallStats,
    /// Connections that were made after the first one; its keeper counts them.
    pub(crate) reconnects: Arc<AtomicU64>,
    /// The gateways, if there are several.
    pub(crate) gateways: Option<Arc<GatewayBoard>>,
}

/// Whether there is a connection.
#[derive(Clone, Debug)]
pub(crate) enum ConnectionState {
    /// Not now; calls wait.
    Connecting,
    /// Not now, and not before somebody changes something: no gateway lets this peer in. Calls do
    /// not wait for that.
    Refused(Error),
    /// There is. Whoever opens a call keeps the `Arc` for as long as the call lasts, so that the
    /// keeper of the connection can tell when nobody uses it any more.
    Connected(Arc<LiveConnection>),
    /// Not any more.
    Closed,
}

/// What a call wants of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectionNeed {
    /// What the call holds while it waits.
    pub(crate) bytes: usize,
    /// It was under way before.
    pub(crate) again: bool,
    /// It may take long: a gateway that drains would have to wait for it.
    pub(crate) lasting: bool,
}

impl ManagedConnection {
    /// A link whose keeper runs on `io` and publishes its state.
    ///
    /// # Errors
    /// `Unavailable` if the system gives no random numbers.
    pub(crate) fn new(
        io: Handle,
        state: watch::Receiver<ConnectionState>,
        connect_timeout: Duration,
        limits: MessageLimits,
    ) -> Result<Self, Error> {
        // The generators of threads get their seeds from the same place, and panic without.
        let _: [u8; 16] = random()?;
        Ok(Self {
            io,
            state,
            connect_timeout,
            limits,
            stall_timeout: STALL_TIMEOUT,
            retries: RetryBudget::default(),
            room: Arc::new(ReassemblyBudget::new(MAX_UNFINISHED_ANSWERS, limits.max_message)),
            parked: AtomicU64::new(0),
            parked_bytes: Arc::default(),
            tally: CallStats::default(),
            reconnects: Arc::default(),
            gateways: None,
        })
    }

    /// An id for a call that no other call has, and that nobody can foretell who has seen others:
    /// a node refuses an id that has been used. It costs less than a counter that threads share.
    pub(crate) fn next_call_id(&self) -> CallId {
        rand::random::<u128>().to_be_bytes()
    }

    /// Runs `task` on the thread of the connection.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.io.spawn(task)
    }

    /// Calls that wait for the connection, and the bytes of their arguments.
    pub(crate) fn parked(&self) -> (u64, u64) {
        (self.parked.load(Ordering::Relaxed), self.parked_bytes.load(Ordering::Relaxed))
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Connected(_))
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.state.borrow(), ConnectionState::Closed)
    }

    /// Resolves when the link is closed for good.
    pub(crate) async fn closed(&self) {
        let mut state = self.state.clone();
        // An error says that the keeper, and the sender with it, is gone: also closed.
        let _ = state.wait_for(|state| matches!(state, ConnectionState::Closed)).await;
    }

    /// The connection, if there is one now.
    pub(crate) fn live(&self) -> Option<Arc<LiveConnection>> {
        match &*self.state.borrow() {
            ConnectionState::Connected(live) => Some(live.clone()),
            _ => None,
        }
    }

    /// Waits for a connection, for as long as connecting may take. While a gateway drains that takes
    /// other calls, the time does not count: that gateway limits it.
    ///
    /// # Errors
    /// `Overloaded` if too many wait already, `Unavailable` if there is no connection in time,
    /// `ConnectionLost` if there will be none; what the gateway said if it refuses this peer.
    pub(crate) async fn connection(
        &self,
        need: ConnectionNeed,
    ) -> Result<Arc<LiveConnection>, Error> {
        let closed = || Error::new(ErrorKind::ConnectionLost, "the client has been closed");
        // One that has broken is as good as none, before its keeper has noticed as well.
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
        {
            let now = self.state.borrow();
            if usable(&now) {
                return live(&now);
            }
        }
        let _parked = self.park(need)?;
        let mut state = self.state.clone();
        if need.lasting {
            // An error says that the keeper is gone, as the next wait does.
            let _ = state.wait_for(|state| !drains(state)).await;
        }
        let limit = self.connect_timeout;
        match timeout(limit, state.wait_for(usable)).await {
            Ok(Ok(state)) => live(&state),
            Ok(Err(_)) => Err(closed()),
            Err(_) => {
                let text = format!("the connection to the gateway did not come back in {limit:?}");
                Err(Error::new(ErrorKind::Unavailable, text))
            }
        }
    }

    /// A place for a call that waits, and for its arguments.
    fn park(&self, need: ConnectionNeed) -> Result<(Gauge<'_>, MemoryCharge), Error> {
        let place = Gauge::up(&self.parked);
        let limit = if need.again { u64::MAX } else { MAX_PARKED_BYTES };
        let mut charge = MemoryCharge::new(&self.parked_bytes, limit);
        let (fits, parked) = (charge.grow_to(need.bytes), self.parked.load(Ordering::Relaxed));
        // One may always wait, however long its arguments; and so may those that were under way,
        // of which there are only so many.
        if need.again || parked == 1 || (fits && parked <= MAX_PARKED) {
            return Ok((place, charge));
        }
        let text = format!(
            "there is no connection to the gateway now, and {MAX_PARKED} calls, or calls with \
             {} MiB of arguments, wait for it already",
            MAX_PARKED_BYTES >> 20
        );
        Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(250)))
    }
}
