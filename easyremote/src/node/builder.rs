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
use crate::node::exec::dedup::DedupCache;
use crate::node::limits::NodeLimits;
use crate::node::middleware::{Done, Layers, Next};
use crate::node::state::{NodeCounters, NodeState};
use crate::node::tags::{self, Tags};
use crate::node::{Node, run};
use crate::transport::auth::address::Gateways;
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::auth::identity::random;
use crate::transport::dial::Dialler;
use crate::transport::quic::io_thread::IoThread;
use crate::wire::control::Register;
use crate::wire::limits::{MAX_NAME, MAX_NODE_STREAMS};

/// Options of a node, from [`Node::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `serve` is called"]
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
            dial: DialOptions::default(),
        }
    }

    /// The node's id: what callers see in errors and can ask for, at most 128 bytes. Random unless
    /// set.
    ///
    /// A gateway has one node of an id at a time. A node that is started with the id of another one
    /// takes its place, as after a restart: the newest has it, and the older one is refused when it
    /// comes back. A node of another [identity](crate::gateway::GatewayBuilder::token) never does; it is
    /// refused with [`ErrorKind::PermissionDenied`].
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Adds a tag that calls can ask for and functions can need, such as `gpu`. At most 64 tags of
    /// 128 bytes. They can be changed later: [`Node::set_tags`].
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Adds functions to offer: [`functions![add, lines]`](crate::functions). At most 1,024.
    pub fn functions(mut self, functions: Functions) -> Self {
        self.functions.extend(functions);
        self
    }

    /// Keeps `value` for the functions that take a `#[state]` of its type, and for the remote
    /// methods of its type, in place of one of the same type given before.
    ///
    /// It is shared by all calls; what changes needs a `Mutex`, or an atomic. The rest of the
    /// program can have it too: see [`shared_state`](Self::shared_state).
    pub fn state<T: Send + Sync + 'static>(self, value: T) -> Self {
        self.shared_state(Arc::new(value))
    }

    /// [`state`](Self::state) of a value that the program has a handle of: functions take it as
    /// `#[state] x: &T`, and methods as `&self`.
    pub fn shared_state<T: Send + Sync + 'static>(mut self, value: Arc<T>) -> Self {
        self.states.insert(value);
        self
    }

    /// Keeps `value` for the remote methods of its type, under a name, in place of one of the same
    /// type and name given before. There may be several, and a [`state`](Self::state) beside them.
    ///
    /// Clients call its methods with `Model::remote(&client).instance("small")`; their names on the
    /// wire are `Model:small.embed`. `name` consists of `A-Z a-z 0-9 _ / -`, and the whole name on
    /// the wire has at most 128 bytes; [`serve`](Self::serve) refuses others. `#[state]` never is
    /// an instance.
    pub fn instance<T>(self, name: impl Into<String>, value: T) -> Self
    where
        T: Send + Sync + 'static,
    {
        self.shared_instance(name, Arc::new(value))
    }

    /// [`instance`](Self::instance) of a value that the program has a handle of.
    pub fn shared_instance<T>(mut self, name: impl Into<String>, value: Arc<T>) -> Self
    where
        T: Send + Sync + 'static,
    {
        self.states.insert_instance(name.into(), value);
        self
    }

    /// Wraps every function of the node in a middleware: an `async fn(Context, Next) -> Result<Done,
    /// Error>`, or a closure that returns such a future. The first one given is the outermost.
    ///
    /// [`Next::run`] runs the inner middlewares and the function, and returns how the call
    /// [ended](Done), once it has. An `Err` that is returned before that is the error of the call,
    /// whose function then has not run ([`Executed::No`](crate::Executed::No)). What is returned
    /// after it changes nothing: the caller has the answer.
    ///
    /// Middleware runs on the node's async runtime, for functions of all kinds, while the call holds
    /// its place: what it waits for counts against [`concurrency`](Self::concurrency). When a call
    /// ends before its function has started, its middleware is dropped. A panic before `run` fails
    /// the call with [`Unavailable`](ErrorKind::Unavailable), `No`; a later one is logged. An `Err`
    /// of a kind that only says something of a function that has run, or of another party, such as
    /// that of a nested call, arrives as `Unavailable`, with its text.
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

    /// Most calls and streams that run at a time; further ones wait at the node. 4,096 unless set,
    /// not 0, and at most 4,096. A function can have a limit of its own, `#[remote(concurrency = n)]`.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.min(MAX_NODE_STREAMS as usize);
        self
    }

    /// How much the node holds and runs, instead of the defaults.
    pub fn limits(mut self, limits: NodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// How the node reaches its gateways: how long it dials, what it trusts, and what it shows.
    /// Sets what `options` sets, and keeps what earlier calls have set. The connect timeout is also
    /// how long a call that a function makes waits to be sent.
    pub fn dial(mut self, options: DialOptions) -> Self {
        self.dial = self.dial.and(options);
        self
    }

    /// Starts the node. It is registered when this returns, at every gateway that could be reached
    /// within the connect timeout and at one at least; the others are dialled on.
    ///
    /// # Errors
    /// As for [`Node::serve`].
    ///
    /// # Cancel safety
    /// As for [`Node::serve`].
    ///
    /// # Panics
    /// As for [`Node::serve`].
    pub async fn serve(self) -> Result<Node, Error> {
        let id = check_id(self.id)?;
        not_zero("concurrency", self.concurrency as u64)?;
        let limits = self.limits;
        limits.check()?;
        tags::check(&self.tags)?;
        let registry = Registry::new(self.functions, &self.states)?;
        let register = Register {
            tags: Vec::new(),
            capacity: self.concurrency as u64,
            functions: registry.offers(),
        };
        let targets = self.gateways?.targets;
        let tags = Tags::new(self.tags, targets.len());
        let diallers = targets
            .into_iter()
            .map(|target| {
                let (id, dial) = (id.clone(), self.dial.clone());
                let (register, tags) = (register.clone(), tags.subscribe());
                Dialler::node(target, id, dial, MAX_NODE_STREAMS, register, tags)
                    .map(|dialler| dialler.with_max_message(limits.messages.max_message))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let connect_timeout = self.dial.timeout();
        let max_unfinished = limits.max_unfinished.max(2 * limits.messages.max_message as u64);
        let shared = Arc::new(NodeState {
            id: id.into(),
            tags,
            registry,
            states: Arc::new(self.states),
            layers: self.layers,
            runtime: Handle::current(),
            running: Arc::new(Semaphore::new(self.concurrency)),
            concurrency: self.concurrency,
            blocking: Arc::new(Semaphore::new(limits.blocking_threads)),
            unfinished: Arc::default(),
            max_unfinished,
            unread: SharedRoom::new(max_unfinished / 2),
            limits: limits.messages,
            connect_timeout,
            counters: NodeCounters::default(),
            started: DedupCache::default(),
            load: watch::Sender::new(None),
            draining: CancellationToken::new(),
            runtime_ended: AtomicBool::new(false),
        });
        shared.warn_of_needs(&shared.tags.now());
        shared.tell_untried();
        let (first, mut firsts) = mpsc::channel(diallers.len());
        let io = IoThread::start("easyremote-node", |stop, guard| {
            run(shared.clone(), diallers, connect_timeout, first, (stop, guard))
        })?;
        let mut outcome = Err(Error::new(ErrorKind::Unavailable, "the node's thread has ended"));
        while let Some(result) = firsts.recv().await {
            outcome = outcome.or(result);
        }
        outcome.map(|()| Node { io, shared })
    }
}

fn check_id(id: Option<String>) -> Result<String, Error> {
    match id {
        Some(id) if !(1..=MAX_NAME).contains(&id.len()) || !is_printable(&id) => {
            let text = format!(
                "a node's id has 1 to {MAX_NAME} bytes, without control characters and invisible \
                 ones"
            );
            Err(Error::new(ErrorKind::InvalidInput, text))
        }
        Some(id) => Ok(id),
        None => Ok(format!("node-{:08x}", u32::from_be_bytes(random()?))),
    }
}
