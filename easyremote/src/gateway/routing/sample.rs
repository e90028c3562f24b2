//! Sample nodes and calls, for tests and the benchmark of routing.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::gateway::routing::meters::FunctionMeters;
use crate::gateway::routing::node::RoutedNode;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::codec::Codec;
use crate::wire::control::{Hello, Offer, Register, Role};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

/// The registration of a sample node.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(crate) id: String,
    pub(crate) identity: &'static str,
    pub(crate) boot: u8,
    pub(crate) epoch: u64,
    pub(crate) tags: Vec<String>,
    pub(crate) capacity: u64,
    pub(crate) functions: Vec<Offer>,
    /// Consecutive heartbeats that it has missed.
    pub(crate) misses: Arc<AtomicU32>,
}

impl Sample {
    /// Creates a node that offers `f`, with 64 slots and without tags.
    pub(crate) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            identity: "node",
            boot: 0,
            epoch: 0,
            tags: Vec::new(),
            capacity: 64,
            functions: vec![offer("f")],
            misses: Arc::default(),
        }
    }

    pub(crate) fn node(self) -> RoutedNode<()> {
        let Self { id, identity, boot, epoch, tags, capacity, functions, misses } = self;
        let hello = Hello { role: Role::Node, proof: None, id, boot: [boot; 16], epoch };
        let register = Register { tags, capacity, functions };
        RoutedNode::new((), misses, identity, &hello, register, &FunctionMeters::default())
    }
}

/// Returns an offer of a unary function.
pub(crate) fn offer(name: &str) -> Offer {
    Offer {
        name: name.to_owned(),
        kind: Kind::Unary,
        fingerprint: 7,
        parameters: Vec::new(),
        signature: String::new(),
        doc: String::new(),
        needs: Vec::new(),
        concurrency: 0,
        timeout_ms: 0,
        idempotent: false,
        tool: false,
        schemas: "".into(),
    }
}

/// Returns a call of that function.
pub(crate) fn call(name: &str) -> CallHeader {
    let header = CallHeader::new([0; 16], name.to_owned(), Kind::Unary, Codec::Bincode);
    CallHeader { fingerprint: 7, caller: Some(caller()), ..header }
}

fn caller() -> KnownCaller {
    let address = ([127, 0, 0, 1], 1).into();
    let (id, identity) = ("client".to_owned(), "ci".to_owned());
    KnownCaller::new(Caller { role: Role::Client, id, identity, address })
}
