//! Options of a node.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::error::printable::is_printable;
use crate::error::{Error, ErrorKind, not_zero};
use crate::function::context::Context;
use crate::function::registry::{Functions, Registry};
use crate::function::states::States;
use crate::gauge::SharedRoom;
use crate::node::exec::batch::Collectors;
use crate::node::exec::dedup::DedupCache;
use crate::node::exec::runs::Runs;
use crate::node::kept::Kept;
use crate::node::limits::NodeLimits;
use crate::node::middleware::{Done, Layers, Next};
use crate::node::state::{NodeCounters, NodeState};
use crate::node::tags::{self, Tags};
use crate::node::{Node, run};
use crate::transport::auth::address::Gateways;
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::auth::identity::random;
use crate::transport::dial::Dialler;
use crate::transport::io::Io;
use crate::transport::io::role::IoRole;
use crate::transport::stream_table::StreamTable;
use crate::wire::control::{Offer, Register};
use crate::wire::limits::{MAX_GATEWAY_STREAMS, MAX_NAME, MAX_NODE_STREAMS};

/// Builds a node with options, from [`Node::builder`].
///
/// ```
/// # use easyremote::{Error, Gateway};
/// use easyremote::{Node, functions, remote};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let address = gateway.local_addr();
/// let node = Node::builder(address)
///     .id("cpu-1")
///     .tag("cpu")
///     .functions(functions![add])
///     .concurrency(8)
///     .serve()
///     .await?;
/// # assert_eq!(node.id(), "cpu-1");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until `serve` is called"]
#[doc(alias = "options")]
pub struct NodeBuilder {
    gateways: Result<Gateways, Error>,
    id: Option<String>,
    tags: Vec<String>,
    functions: Functions,
    states: States,
    layers: Layers,
    concurrency: usize,
    limits: NodeLimits,
    dial: DialOptions,
    io: Io,
}

impl NodeBuilder {
    pub(super) fn new(gateways: Result<Gateways, Error>) -> Self {
        Self {
            gateways,
            id: None,
            tags: Vec::new(),
            functions: Functions::default(),
            states: States::default(),
            layers: Layers::default(),
            concurrency: MAX_NODE_STREAMS as usize,
            limits: NodeLimits::default(),
            io: Io::Auto,
            dial: DialOptions::default(),
        }
    }

    /// Sets the node's id: 1 to 128 bytes, without control and invisible characters. Default: a
    /// random id.
    ///
    /// Errors name the node by its id, and a call can select a node by id with
    /// [`on`](crate::Call::on).
    ///
    /// Ids are unique at a gateway. A new node with the id of a registered one, such as a restarted
    /// node, replaces the old node if both have the same
    /// [identity](crate::gateway::GatewayBuilder::token). The calls that run on the old node fail
    /// with [`ErrorKind::NodeLost`], and its reconnections are refused with
    /// [`ErrorKind::PermissionDenied`]. If the identities differ, the new node is refused with that
    /// error.
    ///
    /// ```
    /// use easyremote::Node;
    ///
    /// let node = Node::builder("127.0.0.1:8080").id("gpu-1");
    /// # let _ = node;
    /// ```
    #[doc(alias = "name")]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a tag, such as `gpu`: at most 64 tags of 1 to 128 bytes. Default: none.
    ///
    /// A call can [require](crate::Call::tag) or [prefer](crate::Call::prefer_tag) a tag, and a
    /// function can need one: `#[remote(needs = "gpu")]`. [`Node::set_tags`] replaces the tags of a
    /// running node.
    ///
    /// ```
    /// use easyremote::Node;
    ///
    /// let node = Node::builder("127.0.0.1:8080").tag("gpu").tag("eu-west");
    /// # let _ = node;
    /// ```
    #[doc(alias = "label")]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds functions to offer: [`functions![add, lines]`](crate::functions). At least one, and at
    /// most 1,024 in all.
    ///
    /// ```
    /// use easyremote::{Node, functions, remote};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// let node = Node::builder("127.0.0.1:8080").functions(functions![add]);
    /// # let _ = node;
    /// ```
    #[doc(alias = "register")]
    pub fn functions(mut self, functions: Functions) -> Self {
        self.functions.extend(functions);
        self
    }

    /// Stores `value` as the state of type `T`: functions borrow it as `#[state] x: &T`, and remote
    /// methods of `T` as `&self`.
    ///
    /// The node has one state of each type; storing a second one replaces the first. All calls
    /// share the value, so put what changes into a `Mutex` or an atomic. The rest of the program
    /// can share it too: see [`shared_state`](Self::shared_state). If a function needs a state that
    /// is missing, [`serve`](Self::serve) returns [`ErrorKind::InvalidInput`].
    ///
    /// ```
    /// # use easyremote::{Client, Error, Gateway};
    /// use easyremote::{Node, functions, remote};
    ///
    /// struct Model {
    ///     scale: f64,
    /// }
    ///
    /// #[remote]
    /// fn score(#[state] model: &Model, x: f64) -> f64 {
    ///     model.scale * x
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::builder(address).functions(functions![score]).state(Model { scale: 2.0 });
    /// # let node = node.serve().await?;
    /// # let client = Client::connect(address).await?;
    /// # assert_eq!(score::call(&client, 3.0).await?, 6.0);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "dependency injection")]
    #[doc(alias = "extension")]
    #[doc(alias = "data")]
    pub fn state<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.shared_state(Arc::new(value))
    }

    /// Like [`state`](Self::state), for a value that the program keeps a handle to. Functions still
    /// borrow it as `#[state] x: &T`, and methods as `&self`.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use easyremote::{Node, functions, remote};
    ///
    /// #[remote]
    /// fn hit(#[state] hits: &AtomicU64) -> u64 {
    ///     hits.fetch_add(1, Ordering::Relaxed) + 1
    /// }
    ///
    /// let hits = Arc::new(AtomicU64::new(0));
    /// let node = Node::builder("127.0.0.1:8080").functions(functions![hit]);
    /// let node = node.shared_state(hits.clone()); // the program reads `hits` meanwhile
    /// # let _ = node;
    /// ```
    #[doc(alias = "dependency injection")]
    #[doc(alias = "extension")]
    pub fn shared_state<T: Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.states.insert(value);
        self
    }

    /// Stores `value` as the instance `name` of its type, for the remote methods of that type.
    ///
    /// A node can have several instances of a type, and a [`state`](Self::state) of it beside them.
    /// Storing a second value with the same type and name replaces the first. Clients select an
    /// instance with `Model::remote(&client).instance("small")`; a method `embed`, for instance, is
    /// then called `Model:small.embed` on the wire. A `#[state]` parameter never receives an
    /// instance.
    ///
    /// `name` may contain only `A-Z a-z 0-9 _ / -`, and the whole name on the wire is at most 128
    /// bytes long; [`serve`](Self::serve) returns [`ErrorKind::InvalidInput`] otherwise.
    ///
    /// ```
    /// # use easyremote::{Client, Error, Gateway};
    /// use easyremote::{Node, functions, remote};
    ///
    /// struct Model(u32);
    ///
    /// #[remote]
    /// impl Model {
    ///     fn layers(&self) -> u32 {
    ///         self.0
    ///     }
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::builder(address).functions(functions![Model]);
    /// let node = node.instance("small", Model(12)).instance("large", Model(80)).serve().await?;
    /// let client = Client::connect(address).await?;
    /// assert_eq!(Model::remote(&client).instance("large").layers().await?, 80);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "object")]
    pub fn instance<T>(self, name: impl Into<String>, value: T) -> Self
    where
        T: Send + Sync + 'static,
    {
        self.shared_instance(name, Arc::new(value))
    }

    /// Like [`instance`](Self::instance), for a value that the program keeps a handle to.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use easyremote::{Node, functions, remote};
    ///
    /// struct Model(u32);
    ///
    /// #[remote]
    /// impl Model {
    ///     fn layers(&self) -> u32 {
    ///         self.0
    ///     }
    /// }
    ///
    /// let small = Arc::new(Model(12));
    /// let node = Node::builder("127.0.0.1:8080").functions(functions![Model]);
    /// let node = node.shared_instance("small", small.clone());
    /// # let _ = node;
    /// ```
    pub fn shared_instance<T>(mut self, name: impl Into<String>, value: Arc<T>) -> Self
    where
        T: Send + Sync + 'static,
    {
        self.states.insert_instance(name.into(), value);
        self
    }

    /// Wraps every function of the node in a middleware: an `async fn(Context, Next) ->
    /// Result<Done, Error>`, or a closure that returns such a future. The first one added is the
    /// outermost.
    ///
    /// [`Next::run`] runs the inner middlewares and the function, and resolves with how the call
    /// [ended](Done).
    ///
    /// - An `Err` before `run` is the error of the call. The function has not run:
    ///   [`Executed::No`](crate::Executed::No).
    /// - A panic before `run` fails the call with [`Unavailable`](ErrorKind::Unavailable), `No`.
    ///   `Ok` without `run` does the same, but only `run` returns a [`Done`].
    /// - What happens after `run` changes nothing: the caller has the answer. A panic is logged.
    ///
    /// An `Err` that cannot describe a refusal by this node, such as the error of a nested call,
    /// arrives as `Unavailable` with its text. These are the kinds `NoNode`, `NodeLost`,
    /// `ConnectionLost`, `BadResponse`, `Panicked`, `SlowConsumer` and `Failed`.
    ///
    /// Middleware runs on the node's async runtime, around functions of all kinds. The call counts
    /// as running for [`concurrency`](Self::concurrency) from the start of its middleware until its
    /// function has ended; what middleware does after `run` does not count. If the call ends before
    /// its function has started, because it was cancelled, its deadline passed or the connection
    /// was lost, the middleware is dropped.
    ///
    /// ```
    /// use std::time::Instant;
    ///
    /// use easyremote::node::{Done, Next};
    /// use easyremote::{Client, Context, Error, ErrorKind, Gateway, Node, functions, remote};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// async fn check(ctx: Context, next: Next) -> Result<Done, Error> {
    ///     if ctx.metadata("key") != Some("secret") {
    ///         return Err(Error::new(ErrorKind::PermissionDenied, "send the key as metadata"));
    ///     }
    ///     next.run(ctx).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::builder(address)
    ///     .functions(functions![add])
    ///     .wrap(|ctx, next| async move {
    ///         let (function, start) = (ctx.function().to_owned(), Instant::now());
    ///         let done = next.run(ctx).await;
    ///         println!("{function} took {:?}: {done:?}", start.elapsed());
    ///         done
    ///     })
    ///     .wrap(check)
    ///     .serve()
    ///     .await?;
    ///
    /// let client = Client::connect(address).await?;
    /// assert_eq!(add::call(&client, 1, 2).metadata("key", "secret").await?, 3);
    /// let error = add::call(&client, 1, 2).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    /// # drop(node);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "middleware")]
    #[doc(alias = "layer")]
    #[doc(alias = "interceptor")]
    pub fn wrap<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Context, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done, Error>> + Send + 'static,
    {
        self.layers.push(middleware);
        self
    }

    /// Sets how many calls and streams may run at a time: 1 to 4,096. Larger values are lowered to
    /// 4,096; 0 is [`ErrorKind::InvalidInput`] from [`serve`](Self::serve). Default: 4,096.
    ///
    /// A single function can have a lower limit: `#[remote(concurrency = n)]`. While a limit is
    /// reached, further calls wait at the gateway, which counts those that it has sent. A call
    /// waits at the node only for what that gateway does not count: the calls from other gateways,
    /// and the [`blocking_threads`](crate::node::NodeLimits::blocking_threads) of sync functions.
    ///
    /// ```
    /// use easyremote::Node;
    ///
    /// let node = Node::builder("127.0.0.1:8080").concurrency(8);
    /// # let _ = node;
    /// ```
    #[doc(alias = "max_in_flight")]
    #[doc(alias = "workers")]
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.min(MAX_NODE_STREAMS as usize);
        self
    }

    /// Sets the limits on message sizes, memory and blocking threads. Default:
    /// [`NodeLimits::new`].
    ///
    /// ```
    /// use easyremote::Node;
    /// use easyremote::node::NodeLimits;
    ///
    /// let limits = NodeLimits::new().blocking_threads(8);
    /// let node = Node::builder("127.0.0.1:8080").limits(limits);
    /// # let _ = node;
    /// ```
    pub fn limits(mut self, limits: NodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets how the node connects to its gateways: connect timeout, trust, and credentials.
    ///
    /// Repeated calls merge: options that `options` leaves unset keep their earlier value. The
    /// connect timeout, 15 s by default, is also how long a call made by a function of this node
    /// waits to be sent.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::Node;
    /// use easyremote::auth::DialOptions;
    ///
    /// let options = DialOptions::new()
    ///     .connect_timeout(Duration::from_secs(60))
    ///     .certificate("node.pem", "node.key");
    /// let node = Node::builder("127.0.0.1:8080").dial(options);
    /// # let _ = node;
    /// ```
    #[doc(alias = "tls")]
    #[doc(alias = "connect_timeout")]
    pub fn dial(mut self, options: DialOptions) -> Self {
        self.dial = self.dial.and(options);
        self
    }

    /// Sets where the node does its I/O; [`Io::Auto`] unless set. The functions run on the program's
    /// runtime in any case.
    ///
    /// ```
    /// use easyremote::Node;
    /// use easyremote::node::Io;
    ///
    /// let builder = Node::builder("127.0.0.1:8080").io(Io::Thread);
    /// # let _ = builder;
    /// ```
    #[doc(alias = "thread")]
    #[doc(alias = "runtime")]
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// Starts the node. When this returns, it is registered at every gateway that could be reached
    /// within the connect timeout, and at least at one; it keeps dialling the others.
    ///
    /// ```
    /// # use easyremote::{Error, Gateway};
    /// use easyremote::{Node, functions, remote};
    ///
    /// #[remote]
    /// fn add(a: i64, b: i64) -> i64 {
    ///     a + b
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let address = gateway.local_addr();
    /// let node = Node::builder(address).functions(functions![add]).serve().await?;
    /// # assert_eq!(node.stats().gateways, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::Unavailable`] if no gateway can be reached in time.
    /// - [`ErrorKind::Unauthenticated`] or [`ErrorKind::PermissionDenied`] if a gateway refuses the
    ///   node, and no other accepts it.
    /// - [`ErrorKind::InvalidInput`] if the address, the id, a tag or a limit is invalid, if two
    ///   functions have the same name, if there is none or more than 1,024, or if one needs a state
    ///   or an instance that the node does not have.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing running.
    ///
    /// # Panics
    /// If it is not polled on a tokio runtime, on which the functions will run.
    pub async fn serve(self) -> Result<Node, Error> {
        let id = check_id(self.id)?;
        not_zero("concurrency", self.concurrency as u64)?;
        self.limits.check()?;
        tags::check(&self.tags)?;
        let (limits, kept) = (self.limits, Kept::new(self.limits.kept));
        let registry = Registry::new(self.functions, &self.states)?;
        let register = Register {
            tags: Vec::new(),
            capacity: self.concurrency as u64,
            functions: offers(&registry),
        };
        let targets = self.gateways?.targets;
        let tags = Tags::new(self.tags, targets.len());
        let diallers = targets
            .into_iter()
            .map(|target| {
                let (id, dial) = (id.clone(), self.dial.clone());
                let (register, tags) = (register.clone(), tags.subscribe());
                Dialler::node(target, id, dial, MAX_GATEWAY_STREAMS, register, tags)
                    .map(|dialler| dialler.with_max_message(limits.messages.max_message))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let connect_timeout = self.dial.timeout();
        let max_unfinished = limits.max_unfinished.max(2 * limits.messages.max_message as u64);
        let blocking = Arc::new(Semaphore::new(limits.blocking_threads));
        let batches = Collectors::new(&registry, &Handle::current(), &blocking, self.concurrency);
        let shared = Arc::new(NodeState {
            id: id.into(),
            tags,
            registry,
            states: Arc::new(self.states),
            layers: self.layers,
            runtime: Handle::current(),
            running: Arc::new(Semaphore::new(self.concurrency)),
            concurrency: self.concurrency,
            blocking,
            unfinished: Arc::default(),
            max_unfinished,
            unread: SharedRoom::new(max_unfinished / 2),
            runs: Runs::new(&kept),
            kept,
            resumable: Arc::default(),
            limits: limits.messages,
            connect_timeout,
            counters: NodeCounters::default(),
            streams: StreamTable::default(),
            started: DedupCache::default(),
            batches,
            load: watch::Sender::new(None),
            draining: CancellationToken::new(),
            runtime_ended: AtomicBool::new(false),
        });
        shared.tell_functions();
        let (first, firsts) = mpsc::channel(diallers.len());
        let io = IoRole::start(self.io, |stop, guard| {
            run(shared.clone(), diallers, connect_timeout, first, (stop, guard))
        })?;
        registered(firsts).await.map(|()| Node { io, shared })
    }
}

/// Returns the descriptions of the functions for the gateway.
fn offers(registry: &Registry) -> Vec<Offer> {
    let (offers, left_out) = registry.offers();
    for (function, why) in left_out {
        tracing::warn!(function, why, "callers are not told the schemas of a function");
    }
    offers
}

/// Waits until each gateway has accepted or refused the node.
///
/// # Errors
/// One of the gateways' errors, if none has accepted it.
async fn registered(mut firsts: mpsc::Receiver<Result<(), Error>>) -> Result<(), Error> {
    let mut outcome = Err(Error::new(ErrorKind::Unavailable, "the node's thread has ended"));
    while let Some(result) = firsts.recv().await {
        outcome = outcome.or(result);
    }
    outcome
}

fn check_id(id: Option<String>) -> Result<String, Error> {
    match id {
        Some(id) if !(1..=MAX_NAME).contains(&id.len()) || !is_printable(&id) => {
            let text = format!(
                "a node's id is 1 to {MAX_NAME} bytes long, without control and invisible \
                 characters"
            );
            Err(Error::new(ErrorKind::InvalidInput, text))
        }
        Some(id) => Ok(id),
        None => Ok(format!("node-{:08x}", u32::from_be_bytes(random()?))),
    }
}
