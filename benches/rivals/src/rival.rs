//! What a party has to do to be measured: three roles, and a caller with the same few operations.

use std::any::Any;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Result;
use bytes::Bytes;
use futures::Stream;

/// Who dials whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// The client dials the node.
    Direct,
    /// Client and node dial the middle.
    Broker,
    /// The client dials the middle, and that dials the node.
    Proxy,
}

/// What a role needs to know to begin.
#[derive(Clone, Debug)]
pub struct Place {
    /// Whom to dial, for those who do: one, and only the middle of a proxy may have several.
    pub targets: Vec<SocketAddr>,
    /// Where the certificate, its key and state are.
    pub directory: PathBuf,
}

impl Place {
    /// The first of those to dial.
    pub fn target(&self) -> SocketAddr {
        self.targets.first().copied().unwrap_or(ANYWHERE)
    }
}

/// Some free port of this machine.
pub const ANYWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// A role that runs for as long as this is kept.
pub struct Running {
    /// Where it listens; of no meaning if it does not.
    pub address: SocketAddr,
    _kept: Box<dyn Any>,
}

impl Running {
    pub fn new(address: SocketAddr, kept: impl Any) -> Self {
        Self { address, _kept: Box::new(kept) }
    }
}

/// Which items a stream is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub n: u64,
    /// Of each, in bytes.
    pub length: u64,
    /// Whether it then stays open, without a further item, until its client is gone.
    pub stays: bool,
}

/// How the function is written that answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// It may wait, and does not block.
    Async,
    /// It may block.
    Sync,
    /// It is over at once.
    Inline,
}

/// One of those who are compared.
pub trait Rival: 'static {
    type Caller: Caller;

    const SHAPE: Shape;

    /// Whether the middle is this program, which can be asked, and not another.
    const OWN_MIDDLE: bool = true;

    /// Runs the middle, if there is one.
    fn middle(place: Place) -> impl Future<Output = Result<Running>>;

    /// Runs what answers calls.
    fn node(place: Place) -> impl Future<Output = Result<Running>>;

    /// Makes a connection for calls.
    fn connect(place: Place) -> impl Future<Output = Result<Self::Caller>> + Send;
}

/// A connection on which calls are made.
pub trait Caller: Clone + Send + Sync + 'static {
    /// Whether there are streams.
    const STREAMS: bool;

    /// Whether [`echo_by`](Self::echo_by) tells functions apart.
    const FUNCTIONS: bool = false;

    /// Sends bytes and gives those that come back, which are the same.
    fn echo(&self, bytes: Bytes) -> impl Future<Output = Result<Bytes>> + Send;

    /// The same by a function of this kind, for those who have several.
    fn echo_by(&self, _: Function, bytes: Bytes) -> impl Future<Output = Result<Bytes>> + Send {
        self.echo(bytes)
    }

    /// Asks for a stream of items.
    ///
    /// The stream fails if it ends before the last item.
    fn items(&self, wanted: Wanted) -> impl Stream<Item = Result<Bytes>> + Send + 'static;
}
