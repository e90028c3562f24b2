//! Options of a node.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::error::printable::is_printable;
use crate::error::{Error, ErrorKind, not_zero};
use crate::function::registry::{Functions, Registry};
use crate::function::states::States;
use crate::gauge::SharedRoom;
use crate::node::exec::dedup::DedupCache;
use crate::node::state::{NodeCounters, NodeState};
use crate::node::tags::{self, Tags};
use crate::node::{Node, run};
use crate::transport::auth::address::Gateways;
use crate::transport::auth::certificates::KeyFiles;
use crate::transport::auth::identity::random;
use crate::transport::auth::tls_options::TlsOptions;
use crate::transport::dial::Dialler;
use crate::transport::quic::io_thread::IoThread;
use crate::wire::control::Register;
use crate::wire::limits::{
    DEFAULT_MAX_DECODED, MAX_MAX_DECODED, MAX_MAX_MESSAGE, MAX_MESSAGE, MAX_NAME, MAX_NODE_STREAMS,
    MAX_TIMEOUT, MAX_UNFINISHED, MessageLimits,
};

/// Options of a node, from [`Node::builder`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `serve` is called"]
pub struct NodeBuilder {
    gateways: Result<Gateways, Error>,
    id: Option<String>,
    tags: Vec<String>,
    functions: Functions,
    states: States,
    concurrency: usize,
    blocking_threads: usize,
    max_unfinished: u64,
    max_message: usize,
    max_decoded: usize,
    connect_timeout: Duration,
    tls: TlsOptions,
}

/// Sync functions that run at a time unless set otherwise. tokio's blocking threads are 512 by
/// default, and the program has other uses for them.
const BLOCKING_THREADS: usize = 256;

/// Longest time that a role tries to reach its gateway before it gives up, unless set otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl NodeBuilder {
    pub(super) fn new(gateways: Result<Gateways, Error>) -> Self {
        Self {
            gateways,
            id: None,
            tags: Vec::new(),
            functions: Functions::default(),
            states: States::default(),
            concurrency: MAX_NODE_STREAMS as usize,
            blocking_threads: BLOCKING_THREADS,
            max_unfinished: MAX_UNFINISHED,
            max_message: MAX_MESSAGE,
            max_decoded: DEFAULT_MAX_DECODED,
            connect_timeout: CONNECT_TIMEOUT,
            tls: TlsOptions::default(),
        }
    }

    /// The node's id: what callers see in errors and can ask for, at most 128 bytes. Random unless
    /// set.
    ///
    /// A gateway has one node of an id at a time. A node that is started with the id of another one
    /// takes its place, as after a restart: the newest has it, and the older one is refused when it
    /// comes back. A node of another [identity](crate::GatewayBuilder::token) never does; it is
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

    /// Most calls and streams that run at a time; further ones wait at the node. 4,096 unless set,
    /// not 0, and at most 4,096. A function can have a limit of its own, `#[remote(concurrency = n)]`.
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls.min(MAX_NODE_STREAMS as usize);
        self
    }

    /// Most sync functions that run at a time, each on a blocking thread of the runtime; further
    /// ones wait. 256 unless set, and not 0. Iterators have threads of their own and do not count.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.blocking_threads = threads.min(Semaphore::MAX_PERMITS);
        self
    }

    /// Longest arguments that the node accepts, and longest answer or item that it gives, in bytes;
    /// 64 MiB unless set, at most 1 GiB, and not 0. The gateway has a limit of its own.
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes.min(MAX_MAX_MESSAGE);
        self
    }

    /// Memory that decoding the arguments of one call, or one item of a caller's stream, may take,
    /// in bytes; 1 GiB unless set, at most 16 GiB. A message may always take 16 times its length.
    ///
    /// Sparse values take much more than their bytes: a `None`, an empty `String` and an empty
    /// `Vec` are one byte each on the wire. The sender counts as the receiver does, with its own
    /// limit, so that a value that is too large is an error where it is sent: raise the limit of
    /// [`ClientBuilder::max_decoded`](crate::ClientBuilder::max_decoded) with this one. The node
    /// counts its results and items by this limit.
    pub fn max_decoded(mut self, bytes: usize) -> Self {
        self.max_decoded = bytes.min(MAX_MAX_DECODED);
        self
    }

    /// Most bytes of arguments that the node holds at a time, and half as many of items and answers
    /// that nobody has read; 512 MiB unless set, and at least twice [`max_message`](Self::max_message).
    ///
    /// Arguments count from their first byte until their function has ended: what has been received,
    /// and then the values, by the sizes of their types and the lengths of their texts and lists,
    /// which may be 16 times as much. A call whose arguments find no room fails with
    /// [`ErrorKind::Overloaded`], [`Executed::No`](crate::Executed::No).
    ///
    /// Items and answers count from when they are made until they are sent on, but for the first
    /// 16 KiB of each stream and answer, so that small ones wait for nobody. Where they are more than
    /// that, new streams and calls of functions whose answers are long fail in the same way, and the
    /// streams that there are make no more items until others have been read, but for one that they
    /// may be waiting for. What nobody reads anything of for 60 s meanwhile ends with
    /// [`ErrorKind::SlowConsumer`].
    pub fn max_unfinished(mut self, bytes: u64) -> Self {
        self.max_unfinished = bytes;
        self
    }

    /// How long [`serve`](Self::serve) tries to reach a gateway, and how long a call that a
    /// function makes waits to be sent; 15 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout.min(MAX_TIMEOUT);
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

    /// Finds the local identity in `directory` instead of the state directory of the user. Only of
    /// use for gateways on this machine that were given the same directory. Whoever can read it may be
    /// any role of this user there; that nobody else can is checked on Unix only.
    pub fn state_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.tls.state_dir = Some(directory.as_ref().to_owned());
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
        not_zero("blocking_threads", self.blocking_threads as u64)?;
        not_zero("max_message", self.max_message as u64)?;
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
                let (id, tls) = (id.clone(), self.tls.clone());
                let (register, tags) = (register.clone(), tags.subscribe());
                Dialler::node(target, id, tls, MAX_NODE_STREAMS, register, tags)
                    .map(|dialler| dialler.with_max_message(self.max_message))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let max_unfinished = self.max_unfinished.max(2 * self.max_message as u64);
        let shared = Arc::new(NodeState {
            id: id.into(),
            tags,
            registry,
            states: Arc::new(self.states),
            runtime: Handle::current(),
            running: Arc::new(Semaphore::new(self.concurrency)),
            concurrency: self.concurrency,
            blocking: Arc::new(Semaphore::new(self.blocking_threads)),
            unfinished: Arc::default(),
            max_unfinished,
            unread: SharedRoom::new(max_unfinished / 2),
            limits: MessageLimits { max_message: self.max_message, max_decoded: self.max_decoded },
            connect_timeout: self.connect_timeout,
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
            run(shared.clone(), diallers, self.connect_timeout, first, (stop, guard))
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
