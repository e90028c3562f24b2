//! The client's handle, and the builder that connects it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::call::retry_budget::RetryBudget;
use crate::client::keeper::Keeper;
use crate::client::options::Options;
use crate::error::{Error, ErrorKind, not_zero};
use crate::function::context::Scope;
use crate::transport::auth::address::{Gateways, IntoGateways};
use crate::transport::auth::certificates::KeyFiles;
use crate::transport::auth::tls_options::TlsOptions;
use crate::transport::connection::{ConnectionState, ManagedConnection};
use crate::transport::dial::Dialler;
use crate::transport::gateway_board::GatewayBoard;
use crate::transport::quic::io_thread::IoThread;
use crate::transport::reassembly::ReassemblyBudget;
use crate::wire::limits::{
    DEFAULT_MAX_DECODED, MAX_MAX_DECODED, MAX_MAX_MESSAGE, MAX_MESSAGE, MAX_TIMEOUT,
    MAX_UNFINISHED_ANSWERS, MessageLimits, STALL_TIMEOUT,
};

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
    max_message: usize,
    max_decoded: usize,
    connect_timeout: Duration,
    stall_timeout: Duration,
    muxes: bool,
    tls: TlsOptions,
    admin: bool,
    max_unfinished: u64,
    retry_tokens: u32,
}

/// Default of [`ClientBuilder::connect_timeout`].
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

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
            max_message: MAX_MESSAGE,
            max_decoded: DEFAULT_MAX_DECODED,
            connect_timeout: CONNECT_TIMEOUT,
            stall_timeout: STALL_TIMEOUT,
            muxes: true,
            tls: TlsOptions::default(),
            admin: false,
            max_unfinished: MAX_UNFINISHED_ANSWERS,
            retry_tokens: RetryBudget::TOKENS,
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
    /// Longest arguments that the client sends, and longest answer or item that it accepts, in
    /// bytes; 64 MiB unless set, at most 1 GiB, and not 0. The gateway has a limit of its own.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Memory that decoding one answer or item may take, in bytes; 1 GiB unless set, at most 16 GiB.
    /// A message may always take 16 times its length.
    ///
    /// The client counts the arguments and the items that it sends by the same limit, before they
    /// are sent; see [`NodeBuilder::max_decoded`](crate::NodeBuilder::max_decoded).
    pub fn max_decoded(mut self, bytes: usize) -> Self {
        self.max_decoded = bytes.min(MAX_MAX_DECODED);
        self
    }

    /// How long [`connect`](Self::connect) tries to reach a gateway, and how long a call waits to
    /// be sent. 15 s unless set.
    ///
    /// A call waits while the connection is down: at most 1,024 calls with 8 MiB of arguments do,
    /// and further ones fail with [`ErrorKind::Overloaded`] at once; calls that were under way, and
    /// are made again, wait in any number. While a gateway [drains](crate::Gateway::drain) and there
    /// is no other, streams and calls of slow functions wait until it has ended, and the time begins
    /// then. A call also waits while the client
    /// has as many open as it may: 1,024 calls and streams, and 1,024 small calls beside them. For
    /// the same time after a connection has come back, or a node or gateway was lost, calls wait at
    /// the gateway for a node that can run them.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// How long a stream is kept whose consumer reads nothing although there is something to read;
    /// it then ends with [`ErrorKind::SlowConsumer`], after the items that had come, and its node
    /// stops. A consumer that asks for an item now and then is never too slow. 60 s unless set.
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout.min(MAX_TIMEOUT);
        self
    }

    /// Whether calls of one result with arguments of up to 16 KiB share a stream, on which whatever
    /// is ready is sent together; they do unless set. While packets are lost, or much waits to be
    /// sent, each call gets a separate stream, so that no call waits for the packets of another.
    ///
    /// Without it a call costs several times as much processor time; all promises are the same.
    pub fn lanes(mut self, shared: bool) -> Self {
        self.muxes = shared;
        self
    }

    /// Verifies gateways that are dialled by name, whose address has no pin, by the authorities in
    /// a PEM file, and by no others. It is read for each connection. Unless set, and with this
    /// crate's feature `public-ca`, the public authorities that browsers trust are asked.
    pub fn authority(mut self, file: impl AsRef<Path>) -> Self {
        self.tls.authority = Some(file.as_ref().to_owned());
        self
    }

    /// Shows the certificate in the PEM file `chain`, with those of its issuers behind it, to
    /// gateways whose address has no token: see
    /// [`GatewayBuilder::authority`](crate::GatewayBuilder::authority). `key` is the PEM file of
    /// its private key. Both are read for each connection, so that a renewed certificate needs no
    /// restart.
    ///
    /// An address without token is a ticket that lacks it, `easyremote://host:port?pin=..`, or,
    /// where the gateway is known by its own certificate, `easyremote://host:port`; or that of a
    /// gateway on this machine.
    pub fn certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.tls.certificate = Some(KeyFiles::new(chain.as_ref(), key.as_ref()));
        self
    }

    /// Most bytes of large answers that the client receives at a time, and as many of items; those
    /// of up to 64 KiB do not count. Further answers wait for their turn; a stream for whose item
    /// there is no room fails with [`ErrorKind::Overloaded`]. 256 MiB unless set, and at least
    /// [`max_message`](Self::max_message).
    ///
    /// No gateway can make a client hold more, however many answers it begins and does not end.
    pub fn max_unfinished(mut self, bytes: u64) -> Self {
        self.max_unfinished = bytes;
        self
    }

    /// Tokens for making calls again while others fail: see [`Retry`](crate::Retry). With the
    /// 10 that hold unless set, five retries, or retries after five losses, can follow each other
    /// without a success. 0 for none; [`u32::MAX`] for as many as the calls' own policies allow.
    pub fn retry_tokens(mut self, tokens: u32) -> Self {
        self.retry_tokens = tokens;
        self
    }

    /// Finds the local identity in `directory` instead of the state directory of the user. Only of
    /// use for gateways on this machine that were given the same directory. Whoever can read it can
    /// take any role of this user there. On Unix a file that others can read is refused.
    pub fn state_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.tls.state_dir = Some(directory.as_ref().to_owned());
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
        not_zero("max_message", self.max_message as u64)?;
        let room = Arc::new(ReassemblyBudget::new(self.max_unfinished, self.max_message));
        let muxes = self.muxes.then(|| room.clone());
        let diallers = self
            .gateways?
            .targets
            .into_iter()
            .map(|target| {
                Dialler::client(target, self.tls.clone(), self.admin).map(|dialler| {
                    dialler.with_max_message(self.max_message).with_mux(muxes.clone())
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (first, connecting) = oneshot::channel();
        let (publish, state) = watch::channel(ConnectionState::Connecting);
        let (reconnects, board) = (Arc::default(), Arc::new(GatewayBoard::new(diallers.len())));
        let has_several = diallers.len() > 1;
        let io = IoThread::start("easyremote-client", |stop, guard| {
            let keeper = Keeper::new(board.clone(), publish, Arc::clone(&reconnects));
            keeper.run(diallers, self.connect_timeout, first, (stop, guard))
        })?;
        let ended = |_| Error::new(ErrorKind::Unavailable, "the client's thread has ended");
        connecting.await.map_err(ended)??;
        let mut link = ManagedConnection::new(
            io.handle().clone(),
            state,
            self.connect_timeout,
            MessageLimits { max_message: self.max_message, max_decoded: self.max_decoded },
        )?;
        link.stall_timeout = self.stall_timeout;
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
