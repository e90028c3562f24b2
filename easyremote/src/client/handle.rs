//! The client handle, and the builder that connects it.

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
use crate::transport::io::Io;
use crate::transport::io::role::IoRole;
use crate::transport::reassembly::ReassemblyBudget;

/// A client: a connection to a gateway, through which functions are called.
///
/// Cloning is cheap: all clones share one connection, which reconnects when it breaks. I/O runs on
/// the tokio runtime that the client was connected from, or on a separate thread while that is
/// blocked or if there is none; see [`Io`](crate::client::Io). Calls can be awaited on any runtime.
///
/// The connection closes when the last of its clones, calls and streams is dropped. That drop
/// blocks until the packet that closes the connection has been passed to the operating system:
/// usually a few microseconds, at most 100 ms. So the program may exit right after.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # #[remote]
/// # fn add(a: i64, b: i64) -> i64 { a + b }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let client = Client::connect(gateway.local_addr()).await?;
/// assert_eq!(add::call(&client, 1, 2).await?, 3);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "connection")]
#[doc(alias = "channel")]
#[doc(alias = "stub")]
#[derive(Clone, Debug)]
pub struct Client {
    pub(super) link: Arc<ManagedConnection>,
    /// Its I/O; `None` for a client from [`Context::client`](crate::Context::client), which
    /// uses its node's.
    pub(super) owned: Option<Arc<IoRole>>,
    /// The options of all calls of this handle.
    pub(super) options: Arc<Options>,
    /// The enclosing call, if the calls are nested.
    pub(super) scope: Option<Scope>,
}

/// Options of a client that is not connected yet. Returned by [`Client::builder`].
///
/// ```no_run
/// use std::time::Duration;
///
/// use easyremote::auth::DialOptions;
/// use easyremote::client::ClientLimits;
/// use easyremote::{Client, from_env};
///
/// # async fn example() -> Result<(), easyremote::Error> {
/// let client = Client::builder(from_env()?)
///     .dial(DialOptions::new().connect_timeout(Duration::from_secs(60)))
///     .limits(ClientLimits::new().max_message(256 << 20))
///     .connect()
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClientBuilder {
    gateways: Result<Gateways, Error>,
    dial: DialOptions,
    limits: ClientLimits,
    multiplex: bool,
    io: Io,
    retry_tokens: u32,
    admin: bool,
}

impl Client {
    /// Connects to `gateway` with default options. The connection is up when this returns.
    ///
    /// `gateway` is
    ///
    /// - an address, such as `"127.0.0.1:8080"` or a [`SocketAddr`](std::net::SocketAddr), for a
    ///   gateway of the same user on the same machine;
    /// - a [`Ticket`](crate::Ticket), or its text, for any other gateway. The gateway is verified
    ///   by the pin in the ticket, or if there is no pin by its
    ///   [certificate](DialOptions::authority) for the host name;
    /// - [`from_env()?`](crate::from_env), which reads these from `EASYREMOTE_GATEWAY`;
    /// - an array or a `Vec` of these, for several gateways: see [`builder`](Self::builder).
    ///
    /// With the ticket of an [admin](crate::Role::Admin) the client is an admin. A gateway that
    /// does not answer yet is dialled for up to 15 s unless [set](DialOptions::connect_timeout).
    ///
    /// ```no_run
    /// use easyremote::Client;
    ///
    /// # async fn example() -> Result<(), easyremote::Error> {
    /// let client = Client::connect("127.0.0.1:8080").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`] if no gateway can be reached in time;
    /// - [`ErrorKind::Unauthenticated`] if the gateway rejects the client, or is not the expected
    ///   one;
    /// - [`ErrorKind::InvalidInput`] if `gateway` is neither a valid address nor a ticket for a
    ///   client or an admin.
    ///
    /// # Cancel safety
    /// Dropping the future stops dialling and leaves nothing running.
    #[doc(alias = "dial")]
    #[doc(alias = "new")]
    pub async fn connect(gateway: impl IntoGateways) -> Result<Self, Error> {
        Self::builder(gateway).connect().await
    }

    /// Returns a builder for a client of `gateway`, which may be a list of gateways.
    ///
    /// A client of several gateways uses the first that it reaches. It changes to another one when
    /// that gateway is lost, drains, or refuses three calls in a row because it has no node or no
    /// room for them. It changes back only when the same happens to the new one. Calls and streams
    /// in flight are not moved.
    ///
    /// A call that one gateway refuses, for example with [`ErrorKind::NoNode`] or
    /// [`ErrorKind::NoSuchFunction`], is sent to the next one: see [`Retry`](crate::Retry).
    ///
    /// ```no_run
    /// use easyremote::{Client, Ticket};
    ///
    /// # async fn example(here: Ticket, there: Ticket) -> Result<(), easyremote::Error> {
    /// let client = Client::builder([here, there]).connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "failover")]
    #[doc(alias = "high availability")]
    pub fn builder(gateway: impl IntoGateways) -> ClientBuilder {
        ClientBuilder {
            gateways: gateway.into_gateways(),
            dial: DialOptions::default(),
            limits: ClientLimits::default(),
            multiplex: true,
            io: Io::Auto,
            retry_tokens: RetryBudget::TOKENS,
            admin: false,
        }
    }

    /// Returns a handle of the same connection whose calls have `options`, in addition to those of
    /// this handle. Where both set an option, `options` wins. An option that is set on a call wins
    /// over those of its handle; tags and metadata add up. Does no I/O.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use easyremote::Options;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let hasty = client.with(Options::new().timeout(Duration::from_secs(5)));
    /// assert_eq!(add::call(&hasty, 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "options")]
    #[doc(alias = "timeout")]
    #[must_use]
    pub fn with(&self, options: Options) -> Self {
        let options = Options::clone(&self.options).and(options);
        Self { options: Arc::new(options), ..self.clone() }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn is_closed(&self) -> bool {
        self.link.is_closed()
    }

    /// Closes the connection, for all clones.
    ///
    /// Calls and streams in flight fail with [`ErrorKind::ConnectionLost`] and are not retried.
    /// Their [`executed`](Error::executed) is `Yes` for an open stream, `No` for a call that was
    /// certainly not sent, and `Maybe` otherwise. Later calls fail with the same kind, and `No`. A
    /// client from [`Context::client`](crate::Context::client) uses its node's connection, and
    /// leaves it open.
    ///
    /// ```
    /// # use easyremote::ErrorKind;
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// client.close().await;
    /// let error = add::call(&client, 1, 2).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionLost);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// The first poll starts to close the connection; dropping the future does not stop that.
    #[doc(alias = "disconnect")]
    #[doc(alias = "shutdown")]
    pub async fn close(&self) {
        if let Some(io) = &self.owned {
            io.stop();
            self.link.closed().await;
        }
    }
}

impl ClientBuilder {
    /// Sets how the client reaches its gateways: how long it dials, which certificates it trusts,
    /// and which it presents. Overrides what `options` sets, and keeps the rest.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::Client;
    /// use easyremote::auth::DialOptions;
    ///
    /// let patient = DialOptions::new().connect_timeout(Duration::from_secs(60));
    /// let builder = Client::builder("127.0.0.1:8080").dial(patient);
    /// # let _ = builder;
    /// ```
    #[doc(alias = "tls")]
    #[doc(alias = "certificate")]
    #[doc(alias = "connect_timeout")]
    pub fn dial(mut self, options: DialOptions) -> Self {
        self.dial = self.dial.and(options);
        self
    }

    /// Sets the limits of messages and memory; see [`ClientLimits`] for the defaults.
    ///
    /// ```
    /// use easyremote::Client;
    /// use easyremote::client::ClientLimits;
    ///
    /// let limits = ClientLimits::new().max_message(256 << 20); // 256 MiB
    /// let builder = Client::builder("127.0.0.1:8080").limits(limits);
    /// # let _ = builder;
    /// ```
    pub fn limits(mut self, limits: ClientLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets whether small calls share one multiplexed QUIC stream. Default: `true`.
    ///
    /// A small call has one result, no client stream, and arguments of up to 16 KiB. Everything
    /// that is ready on the shared stream is sent together. While packets are lost, or much waits
    /// to be sent, calls use separate streams, so that no call waits for the packets of another.
    ///
    /// With `false` each call has a separate stream, and costs several times as much processor
    /// time. Semantics are the same.
    ///
    /// ```
    /// use easyremote::Client;
    ///
    /// let builder = Client::builder("127.0.0.1:8080").multiplex(false);
    /// # let _ = builder;
    /// ```
    pub fn multiplex(mut self, small_calls: bool) -> Self {
        self.multiplex = small_calls;
        self
    }

    /// Sets where the client does its I/O; [`Io::Auto`] unless set.
    ///
    /// ```
    /// use easyremote::Client;
    /// use easyremote::client::Io;
    ///
    /// let builder = Client::builder("127.0.0.1:8080").io(Io::Thread);
    /// # let _ = builder;
    /// ```
    #[doc(alias = "thread")]
    #[doc(alias = "runtime")]
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// Sets the number of tokens of the retry budget; see [`Retry`](crate::Retry).
    ///
    /// Default: 10, with which 5 retries, or retries after 5 losses, can follow each other without
    /// a success. With 0 no call that needs a token is retried; with [`u32::MAX`] only the policies
    /// of the calls limit retries.
    ///
    /// ```
    /// use easyremote::Client;
    ///
    /// let builder = Client::builder("127.0.0.1:8080").retry_tokens(100);
    /// # let _ = builder;
    /// ```
    #[doc(alias = "throttling")]
    pub fn retry_tokens(mut self, tokens: u32) -> Self {
        self.retry_tokens = tokens;
        self
    }

    /// Connects as an [admin](crate::Role::Admin).
    ///
    /// A gateway of this user on this machine admits every client of the user as an admin. For any
    /// other gateway use an admin's ticket, `gateway.ticket(Role::Admin)`, which makes this setting
    /// unnecessary. The ticket of another role is [`ErrorKind::InvalidInput`].
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let admin = Client::builder(gateway.local_addr()).admin().connect().await?;
    /// admin.gateway_stats().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn admin(mut self) -> Self {
        self.admin = true;
        self
    }

    /// Connects. The connection is up when this returns.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::builder(gateway.local_addr()).connect().await?;
    /// assert!(client.stats().connected);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As for [`Client::connect`], and [`ErrorKind::InvalidInput`] if a limit is 0 that must not
    /// be.
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
        let io = IoRole::start(self.io, |stop, guard| {
            let keeper = Keeper::new(board.clone(), publish, Arc::clone(&reconnects));
            keeper.run(diallers, connect_timeout, first, (stop, guard))
        })?;
        let ended = |_| Error::new(ErrorKind::Unavailable, "the client's thread has ended");
        connecting.await.map_err(ended)??;
        let tasks = io.tasks().clone();
        let mut link = ManagedConnection::new(tasks, state, connect_timeout, limits.messages)?;
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
