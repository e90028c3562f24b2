//! Nodes that are only looked for, and never called: for the tests and the bench of routing.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use crate::error::{Error, ErrorKind};
use crate::gateway::node_session::NodeSession;
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::identity::{Identity, SERVER_NAME};
use crate::transport::auth::tls::Expected;
use crate::transport::quic::endpoint::{self, Listener};
use crate::transport::quic::windows::StreamWindows;
use crate::wire::codec::Codec;
use crate::wire::control::{Hello, Offer, Register, Role};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;

/// A connection for nodes that nobody calls to share.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    connection: quinn::Connection,
    _endpoints: [quinn::Endpoint; 2],
}

impl Peer {
    pub(super) async fn new() -> Result<Self, Error> {
        let identity = Identity::generate()?;
        let shown = Arc::new(ServerCertResolver::new(&identity, None)?);
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let listening = Listener::bind(address, &identity, shown, false)?.endpoint().clone();
        let broken = |error: &dyn ToString| Error::new(ErrorKind::Unavailable, error.to_string());
        let address = listening.local_addr().map_err(|error| broken(&error))?;
        let expected = Expected::Pin(identity.pin());
        let dialling = endpoint::dialling(address, expected, None, 1)?;
        let connecting = dialling.connect(address, SERVER_NAME).map_err(|error| broken(&error))?;
        let accepting = async { listening.accept().await?.await.ok() };
        let (accepted, connection) = tokio::join!(accepting, connecting);
        let connection = connection.map_err(|error| broken(&error))?;
        drop(accepted);
        Ok(Self { connection, _endpoints: [listening, dialling] })
    }

    /// A node, and what counts the heartbeats that it has missed.
    pub(super) fn node(&self, id: &str, register: Register) -> (Arc<NodeSession>, Arc<AtomicU32>) {
        let misses = Arc::new(AtomicU32::new(0));
        let (id, boot) = (id.to_owned(), [0; 16]);
        let (connection, credits) =
            (self.connection.clone(), StreamWindows::new(self.connection.clone()));
        let hello = Hello { role: Role::Node, proof: None, id, boot, epoch: 0 };
        let node = NodeSession::new(connection, credits, misses.clone(), "node", &hello, register);
        (Arc::new(node), misses)
    }
}

/// A function of one kind, offered by a node.
pub(super) fn offer(name: &str) -> Offer {
    Offer {
        name: name.to_owned(),
        kind: Kind::Unary,
        fingerprint: 7,
        parameters: Vec::new(),
        signature: String::new(),
        doc: String::new(),
        needs: Vec::new(),
        concurrency: 0,
    }
}

/// A call of it.
pub(super) fn call(name: &str) -> CallHeader {
    let header = CallHeader::new([0; 16], name.to_owned(), Kind::Unary, Codec::Bincode);
    CallHeader { fingerprint: 7, ..header }
}
