//! The client's handle, and the builder that connects it.

use std::sync::Arc;

use tokio::sync::{oneshot, watch};

use crate::call::retry_budget::RetryBudget;
use crate::client::keeper::Keeper;
use crate::client::limits::ClientLimits;
use crate::client::options::Options;
use crate::error::{Error, ErrorKind};
use crate::function::context::Scope;
use crate::transport::auth::address::{Gateways, IntoGateways};
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::connection::{ConnectionState, ManagedConnection};
use crate::transport::dial::Dialler;
use crate::transport::gateway_board::GatewayBoard;
use crate::transport::quic::io_thread::IoThread;
use crate::transport::reassembly::ReassemblyBudget;

/// A connection to a gateway, through which functions are called.
///
/// Cheap to clone: all clones share one connection, which is dialled again when it breaks. It is
/// closed when the last clone, call and stream is dropped. That drop tells the gateway, also if the
/// program ends right after it; it takes some microseconds, and 100 ms at most. I/O runs on a thread
/// of its own; calls can be awaited on any runtime.
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) link: Arc<ManagedConnection>,
    /// Its thread; that of a client from [`Context::client`](crate::Context::client) is its node's.
    pub(super) owned: Option<Arc<IoThread>>,
    /// For the calls that are made with this handle.
    pub(super) options: Arc<Options>,
    /// The call that its calls are made for.
    pub(super) scope: Option<Scope>,
}

/// Options of a client, from [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClientBuilder {
    gateways: Result<Gateways, Error>,
    dial: DialOptions,
    limits: ClientLimits,
    multiplex: bool,
    retry_tokens: u32,
    admin: bool,
}

impl Client {
    /// Connects to `gateway` with default options. The connection is up when this returns.
    ///
    /// The gateway need not be there yet: it is dialled for up to 15 s.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if no gateway can be reached in time,
    /// [`ErrorKind::Unauthenticated`] if it refuses the client or is not the one expected,
    /// [`ErrorKind::InvalidInput`] if what is given is no address or no ticket for a client.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    pub async fn connect(gateway: impl IntoGateways) -> Result<Self, Error> {
        Self::builder(gateway).connect().await
    }

    /// Options for a client of `gateway`, which may be a list of gateways. The client uses the first
    /// that it reaches. It changes to another when that one is lost, drains, or refuses several calls
    /// in a row because it has no node for them. A call that one gateway has no node for is sent
    /// through the next. Running calls and streams stay where they are.
    pub fn builder(gateway: impl IntoGateways) -> ClientBuilder {
        ClientBuilder {
            gateways: gateway.into_gateways(),
            dial: DialOptions::default(),
            limits: ClientLimits::default(),
            multiplex: true,
            retry_tokens: RetryBudget::TOKENS,
            admin: false,
        }
    }

    /// A handle of the same connection whose calls have `options`, over those that this one has.
    #[must_use]
    pub fn with(&self, options: Options) -> Self {
        let options = Options::clone(&self.options).and(options);
        Self { options: Arc::new(options), ..self.clone() }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Closes the connection, for all clones. Calls and streams under way, and later ones, fail
    /// with [`ErrorKind::ConnectionLost`]. A client from
    /// [`Context::client`](crate::Context::client) uses its node's connection, and leaves it open.
    ///
    /// # Cancel safety
    /// Once polled, the connection closes whether or not this is waited for.
    pub async fn close(&self) {
        if let Some(io) = &self.owned {
            io.stop();
            self.link.closed().await;
        }
    }
}

impl ClientBuilder {
    /// How the client reaches its gateways: how long it dials, what it trusts, and what it shows.
    /// Sets what `options` sets, and keeps what earlier calls have set.
    pub fn dial(mut self, options: DialOptions) -> Self {
        self.dial = self.dial.and(options);
        self
    }

    /// How much the client sends and holds, instead of the defaults.
    pub fn limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Whether calls of one result with arguments of up to 16 KiB share one multiplexed QUIC stream,
    /// on which everything that is ready is sent together. They do unless set. While packets are
    /// lost, or much waits to be sent, each call gets a separate stream, so that no call waits for
    /// the packets of another.
    ///
    /// Without it a call costs several times as much processor time; all promises are the same.
    pub fn multiplex(mut self, small_calls: bool) -> Self {
        self.multiplex = small_calls;
        self
    }

    /// Tokens for making calls again while others fail: see [`Retry`](crate::Retry). With the
    /// 10 that hold unless set, five retries, or retries after five losses, can follow each other
    /// without a success. 0 for none; [`u32::MAX`] for as many as the calls' own policies allow.
    pub fn retry_tokens(mut self, tokens: u32) -> Self {
        self.retry_tokens = tokens;
        self
    }

    /// Connects as an [admin](crate::Role::Admin), to a gateway on this machine. Elsewhere the
    /// ticket says what the client is, and one for an admin is needed.
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Connects. The connection is up when this returns.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    ///
    /// # Cancel safety
    /// As for [`Client::connect`].
    pub async fn connect(self) -> Result<Client, Error> {
        let limits = self.limits;
        limits.check()?;
        let max_message = limits.messages.max_message;
        let room = Arc::new(ReassemblyBudget::new(limits.max_unfinished, max_message));
        let muxes = self.multiplex.then(|| room.clone());
        let connect_timeout = self.dial.timeout();
        let diallers = self
            .gateways?
            .targets
            .into_iter()
            .map(|target| {
                Dialler::client(target, self.dial.clone(), self.admin)
                    .map(|dialler| dialler.with_max_message(max_message).with_mux(muxes.clone()))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (first, connecting) = oneshot::channel();
        let (publish, state) = watch::channel(ConnectionState::Connecting);
        let (reconnects, board) = (Arc::default(), Arc::new(GatewayBoard::new(diallers.len())));
        let has_several = diallers.len() > 1;
        let io = IoThread::start("easyremote-client", |stop, guard| {
            let keeper = Keeper::new(board.clone(), publish, Arc::clone(&reconnects));
            keeper.run(diallers, connect_timeout, first, (stop, guard))
        })?;
        let ended = |_| Error::new(ErrorKind::Unavailable, "the client's thread has ended");
        connecting.await.map_err(ended)??;
        let handle = io.handle().clone();
        let mut link = ManagedConnection::new(handle, state, connect_timeout, limits.messages)?;
        link.stall_timeout = limits.stall_timeout;
        link.reconnects = reconnects;
        link.room = room;
        link.retries = RetryBudget::new(self.retry_tokens);
        link.gateways = has_several.then_some(board);
        Ok(Client {
            link: Arc::new(link),
            owned: Some(Arc::new(io)),
            options: Arc::default(),
            scope: None,
        })
    }
}
