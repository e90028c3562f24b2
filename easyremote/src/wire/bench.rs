//! For benches: encoding and decoding of call headers and control messages.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::codec::Codec;
use crate::wire::control::{Control, Credit, Offer, Register, Role};
use crate::wire::frame::FRAME_HEADER;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::routing_options::Strategy;

/// A call header.
#[derive(Debug)]
pub struct Header(CallHeader);

impl Header {
    /// Returns the header of a call without options, as its client sends it.
    #[must_use]
    pub fn of_client() -> Self {
        let header =
            CallHeader::new([7; 16], "Model.embed".to_owned(), Kind::Unary, Codec::Bincode);
        Self(CallHeader { fingerprint: 7, ..header })
    }

    /// Returns the same header as a node receives it, with the caller.
    #[must_use]
    pub fn of_gateway() -> Self {
        let mut header = Self::of_client();
        header.0.caller = Some(caller());
        header
    }

    /// Returns a header with many options, as a node receives it.
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

    /// Appends the header as a frame. Returns whether it is within the limit.
    pub fn put(&self, out: &mut Vec<u8>) -> bool {
        self.0.put(out).is_ok()
    }

    /// Decodes a header from its frame. Returns `None` if it is malformed.
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
            timeout_ms: 30_000,
            idempotent: true,
            tool: false,
            schemas: SCHEMAS.into(),
        });
        let (tags, functions) = (vec!["gpu".to_owned(), "eu".to_owned()], functions.collect());
        Self(Control::Register(Register { tags, capacity: 8, functions }))
    }

    /// Appends the message as a frame. Returns whether it is within the limit.
    pub fn put(&self, out: &mut Vec<u8>) -> bool {
        self.0.put(out).is_ok()
    }

    /// Decodes a message from its frame.
    #[must_use]
    pub fn read(frame: &[u8]) -> Option<Self> {
        Control::read(frame.get(FRAME_HEADER..)?).ok().map(Self)
    }
}

/// The schemas of a function with two arguments.
const SCHEMAS: &str = r#"{"arguments":{"additionalProperties":false,"description":"Embeds a text.","properties":{"limit":{"maximum":18446744073709551615,"minimum":0,"type":"integer"},"text":{"type":"string"}},"required":["text","limit"],"type":"object"},"result":{"items":{"type":["number","null"]},"type":"array"}}"#;

/// Returns a caller.
pub(crate) fn caller() -> KnownCaller {
    KnownCaller::new(Caller {
        role: Role::Client,
        id: "client-0123456789abcdef".to_owned(),
        identity: "default".to_owned(),
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 4_711)),
    })
}
