//! What the bench of the codec sees of call headers and control messages.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::codec::Codec;
use crate::wire::control::{Control, Credit, Offer, Register, Role};
use crate::wire::frame::FRAME_HEADER;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::routing_options::Strategy;

/// A call header, as it travels.
#[derive(Debug)]
pub struct Header(CallHeader);

impl Header {
    /// That of a call without options, as it leaves its client.
    #[must_use]
    pub fn of_client() -> Self {
        let header =
            CallHeader::new([7; 16], "Model.embed".to_owned(), Kind::Unary, Codec::Bincode);
        Self(CallHeader { fingerprint: 7, ..header })
    }

    /// The same as a node gets it: with the gateway's word on who calls.
    #[must_use]
    pub fn of_gateway() -> Self {
        let mut header = Self::of_client();
        header.0.caller = Some(caller());
        header
    }

    /// One with options of many kinds, as a node gets it.
    #[must_use]
    pub fn with_options() -> Self {
        let mut header = Self::of_gateway();
        header.0.timeout = Some(Duration::from_secs(30));
        header.0.routing.tags = vec!["gpu".to_owned(), "eu".to_owned()];
        header.0.routing.strategy = Some(Strategy::Fastest);
        header.0.routing.sticky = Some(7);
        header.0.routing.wait = true;
        header.0.metadata = vec![("trace".to_owned(), "00-4bf92f3577b34da6".to_owned())];
        header
    }

    /// Appends it as a frame. Says whether it has a length that a header may have.
    pub fn put(&self, out: &mut Vec<u8>) -> bool {
        self.0.put(out).is_ok()
    }

    /// Reads it from its frame. `None` if it is not one.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        CallHeader::read(frame.get(FRAME_HEADER..)?).ok().map(Self)
    }
}

/// A message of the control stream.
#[derive(Debug)]
pub struct ControlMessage(Control);

impl ControlMessage {
    /// A heartbeat.
    #[must_use]
    pub fn ping() -> Self {
        Self(Control::Ping(4_711))
    }

    /// A new limit of a stream.
    #[must_use]
    pub fn credit() -> Self {
        Self(Control::Credit(Credit { stream: 4_096, limit: 300 << 20 }))
    }

    /// The registration of a node with `n` functions.
    #[must_use]
    pub fn register(n: usize) -> Self {
        let functions = (0..n).map(|i| Offer {
            name: format!("Model.function_{i}"),
            kind: Kind::Unary,
            fingerprint: 0x0123_4567_89ab_cdef,
            parameters: vec!["text".to_owned(), "limit".to_owned()],
            signature: "(text: String, limit: u64) -> Vec<f32>".to_owned(),
            doc: "Embeds a text.".to_owned(),
            needs: vec!["gpu".to_owned()],
            concurrency: 8,
        });
        let (tags, functions) = (vec!["gpu".to_owned(), "eu".to_owned()], functions.collect());
        Self(Control::Register(Register { tags, capacity: 8, functions }))
    }

    /// Appends it as a frame, and returns whether it is short enough.
    pub fn put(&self, out: &mut Vec<u8>) -> bool {
        self.0.put(out).is_ok()
    }

    /// Decodes it from its frame.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        Control::read(frame.get(FRAME_HEADER..)?).ok().map(Self)
    }
}

/// One who calls.
pub(crate) fn caller() -> KnownCaller {
    KnownCaller::new(Caller {
        role: Role::Client,
        id: "client-0123456789abcdef".to_owned(),
        identity: "default".to_owned(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 4_711)),
    })
}
