//! The messages of the control stream, the first stream of each connection.
//!
//! The dialler opens it with [`Hello`] (and, if it is a node, [`Register`]); the gateway answers
//! [`Welcome`] (and `Registered`) or `Refused`. After that both sides send `Ping` every two seconds
//! and echo it as `Pong`.
//!
//! A gateway that drains tells its clients with `Draining`: they make no new calls on this
//! connection, and close it after the last one. A node that drains says `Draining` to its gateways:
//! they give it no more calls, and say `Drained` after the last one.
//!
//! Both sides say `Credit` of streams that they read (`transport::credit`).
//!
//! Messages whose tag is 128 or more are notes: a peer of another version that does not know one
//! skips it. So it does with what follows the fields of a message that it knows.

use std::fmt;

use crate::error::Error;
use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::error::{put_error, read_error};
use crate::wire::frame::{self, FRAME_HEADER, FrameKind};
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_CONTROL, MAX_FUNCTIONS, MAX_LIST, MAX_NAME};
use crate::wire::load::NodeLoad;

/// What a peer of the gateway wants to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Offers functions.
    Node,
    /// Calls functions.
    Client,
    /// Calls functions, whichever they are, and may ask the gateway for its
    /// [statistics](crate::Client::gateway_stats).
    Admin,
}

impl Role {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Node, Self::Client, Self::Admin];

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Node => 1,
            Self::Client => 2,
            Self::Admin => 3,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Node),
            2 => Some(Self::Client),
            3 => Some(Self::Admin),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }
}

impl Role {
    /// With its article, for texts.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Node => "a node",
            Self::Client => "a client",
            Self::Admin => "an admin",
        }
    }
}

/// A message of the control stream.
///
/// Its frame's body is a tag byte and the fields in the order of the struct.
#[derive(Clone, Debug)]
pub(crate) enum Control {
    Hello(Hello),
    Welcome(Welcome),
    Refused(Error),
    Register(Register),
    Registered,
    Ping(u64),
    Pong(u64),
    Draining,
    Drained,
    /// A node's, in place of the tags that it has registered with.
    Retag(Retag),
    /// The tags of this number are those that calls are routed by.
    Retagged(u64),
    /// The reader of a stream lets its sender go on.
    Credit(Credit),
    /// The gateway's: the caller of the call on this stream has left. The node says
    /// [`Released`](Self::Released) when the call's place is free.
    Abandoned {
        stream: u64,
    },
    /// The node's: the place of the call on this stream is free.
    Released {
        stream: u64,
    },
    /// A node's, from time to time.
    Load(NodeLoad),
    /// A note that this version does not know; its tag.
    Unknown(u8),
}

/// Says which token a proof is of.
pub(crate) type TokenId = [u8; 8];

/// Proves that a peer holds a token, on one connection only; not for logs all the same.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) token: TokenId,
    pub(crate) tag: [u8; 32],
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// The receiver of a stream lets its sender go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credit {
    /// QUIC's id of the stream.
    pub(crate) stream: u64,
    /// Bytes that may be sent on it in all.
    pub(crate) limit: u64,
}

/// The dialler's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) role: Role,
    /// Proof that the dialler holds one of the role's tokens: see `transport::credentials`. `None` if
    /// it has shaken hands with a certificate instead.
    pub(crate) proof: Option<Proof>,
    /// The node's id; empty for others.
    pub(crate) id: String,
    /// Random per process: tells a node that reconnects from another with the same id.
    pub(crate) boot: [u8; 16],
    /// How often this process has connected to this gateway before.
    pub(crate) epoch: u64,
}

/// The gateway's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Longest message that the gateway relays, in bytes.
    pub(crate) max_message: u64,
}

/// What a node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Register {
    pub(crate) tags: Vec<String>,
    /// Most calls that the node wants to have at a time.
    pub(crate) capacity: u64,
    pub(crate) functions: Vec<Offer>,
}

/// The tags of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Retag {
    /// Grows with each change.
    pub(crate) number: u64,
    pub(crate) tags: Vec<String>,
}

/// One function that a node offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) fingerprint: u64,
    pub(crate) parameters: Vec<String>,
    /// The types as people read them: `(a: i64, b: i64) -> i64`.
    pub(crate) signature: String,
    pub(crate) doc: String,
    /// The tags that a node must have to run it.
    pub(crate) needs: Vec<String>,
    /// Most calls of it that the node runs at a time; 0 if it has no limit of its own.
    pub(crate) concurrency: u64,
}

mod tag {
    pub(super) const HELLO: u8 = 1;
    pub(super) const WELCOME: u8 = 2;
    pub(super) const REFUSED: u8 = 3;
    pub(super) const REGISTER: u8 = 4;
    pub(super) const REGISTERED: u8 = 5;
    pub(super) const PING: u8 = 6;
    pub(super) const PONG: u8 = 7;
    pub(super) const DRAINING: u8 = 8;
    pub(super) const DRAINED: u8 = 9;
    pub(super) const RETAG: u8 = 10;
    pub(super) const RETAGGED: u8 = 11;
    pub(super) const CREDIT: u8 = 12;
    pub(super) const ABANDONED: u8 = 13;
    pub(super) const RELEASED: u8 = 14;
    /// The first that is skipped by who does not know it.
    pub(super) const NOTES: u8 = 128;
    pub(super) const LOAD: u8 = NOTES;
}

/// Longest signature and longest documentation of an offer, in bytes; both are cut, not refused.
const MAX_TEXT: usize = 4 << 10;

impl Control {
    /// Appends the message as a frame.
    ///
    /// # Errors
    /// The length of a message that is longer than [`MAX_CONTROL`].
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), usize> {
        let start = frame::begin(out, FrameKind::Control);
        match self {
            Self::Hello(hello) => hello.put(out),
            Self::Welcome(welcome) => {
                out.push(tag::WELCOME);
                out.put_varint(welcome.max_message);
            }
            Self::Refused(error) => {
                out.push(tag::REFUSED);
                put_error(out, error);
            }
            Self::Register(register) => register.put(out),
            Self::Registered => out.push(tag::REGISTERED),
            Self::Ping(number) => put_number(out, tag::PING, *number),
            Self::Pong(number) => put_number(out, tag::PONG, *number),
            Self::Draining => out.push(tag::DRAINING),
            Self::Drained => out.push(tag::DRAINED),
            Self::Retag(retag) => {
                put_number(out, tag::RETAG, retag.number);
                put_names(out, &retag.tags);
            }
            Self::Retagged(number) => put_number(out, tag::RETAGGED, *number),
            Self::Credit(credit) => {
                put_number(out, tag::CREDIT, credit.stream);
                out.put_varint(credit.limit);
            }
            Self::Abandoned { stream } => put_number(out, tag::ABANDONED, *stream),
            Self::Released { stream } => put_number(out, tag::RELEASED, *stream),
            Self::Load(load) => {
                out.push(tag::LOAD);
                load.put(out);
            }
            Self::Unknown(tag) => out.push(*tag),
        }
        frame::finish(out, start, MAX_CONTROL)
    }

    /// Reads the body of a `Control` frame.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        match reader.u8("tag")? {
            tag::HELLO => Hello::read(&mut reader).map(Self::Hello),
            tag::WELCOME => {
                Ok(Self::Welcome(Welcome { max_message: reader.varint("max message")? }))
            }
            tag::REFUSED => {
                reader.take(FRAME_HEADER, "error")?;
                read_error(&body[1 + FRAME_HEADER..]).map(Self::Refused)
            }
            tag::REGISTER => Register::read(&mut reader).map(Self::Register),
            tag::REGISTERED => Ok(Self::Registered),
            tag::PING => reader.varint("number").map(Self::Ping),
            tag::PONG => reader.varint("number").map(Self::Pong),
            tag::DRAINING => Ok(Self::Draining),
            tag::DRAINED => Ok(Self::Drained),
            tag::RETAG => {
                let number = reader.varint("number")?;
                Ok(Self::Retag(Retag { number, tags: names(&mut reader, "tags")? }))
            }
            tag::RETAGGED => reader.varint("number").map(Self::Retagged),
            tag::CREDIT => Ok(Self::Credit(Credit {
                stream: reader.varint("stream")?,
                limit: reader.varint("limit")?,
            })),
            tag::ABANDONED => Ok(Self::Abandoned { stream: reader.varint("stream")? }),
            tag::RELEASED => Ok(Self::Released { stream: reader.varint("stream")? }),
            tag::LOAD => NodeLoad::read(&mut reader).map(Self::Load),
            unknown if unknown >= tag::NOTES => Ok(Self::Unknown(unknown)),
            unknown => Err(Malformed::new(format!("control message of unknown tag {unknown}"))),
        }
    }
}

fn put_number(out: &mut Vec<u8>, tag: u8, number: u64) {
    out.push(tag);
    out.put_varint(number);
}

impl Hello {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[tag::HELLO, self.role.code()]);
        out.push(u8::from(self.proof.is_some()));
        if let Some(proof) = &self.proof {
            out.extend_from_slice(&proof.token);
            out.extend_from_slice(&proof.tag);
        }
        out.put_str(&self.id, MAX_NAME);
        out.extend_from_slice(&self.boot);
        out.put_varint(self.epoch);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            role: Role::from_code(reader.u8("role")?)
                .ok_or_else(|| Malformed::new("`role` is not one that this version knows"))?,
            proof: match reader.u8("proof")? {
                0 => None,
                1 => Some(Proof { token: reader.array("proof")?, tag: reader.array("proof")? }),
                _ => return Err(Malformed::new("`proof` is not one that this version knows")),
            },
            id: reader.name(MAX_NAME, "id")?,
            boot: reader.array("boot")?,
            epoch: reader.varint("epoch")?,
        })
    }
}

impl Register {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(tag::REGISTER);
        put_names(out, &self.tags);
        out.put_varint(self.capacity);
        out.put_varint(self.functions.len() as u64);
        for offer in &self.functions {
            out.put_str(&offer.name, MAX_NAME);
            out.push(offer.kind.code());
            out.extend_from_slice(&offer.fingerprint.to_be_bytes());
            put_names(out, &offer.parameters);
            out.put_str(&offer.signature, MAX_TEXT);
            out.put_str(&offer.doc, MAX_TEXT);
            put_names(out, &offer.needs);
            out.put_varint(offer.concurrency);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            tags: names(reader, "tags")?,
            capacity: reader.varint("capacity")?,
            functions: reader.list(MAX_FUNCTIONS, "functions", |reader| {
                Ok(Offer {
                    name: reader.name(MAX_NAME, "name")?,
                    kind: Kind::from_code(reader.u8("kind")?)
                        .ok_or_else(|| Malformed::new("a function is of unknown kind"))?,
                    fingerprint: reader.u64("fingerprint")?,
                    parameters: names(reader, "parameters")?,
                    signature: reader.str(MAX_TEXT, "signature")?.to_owned(),
                    doc: reader.str(MAX_TEXT, "doc")?.to_owned(),
                    needs: names(reader, "needs")?,
                    concurrency: reader.varint("concurrency")?,
                })
            })?,
        })
    }
}

fn put_names(out: &mut Vec<u8>, names: &[String]) {
    out.put_varint(names.len() as u64);
    for name in names {
        out.put_str(name, MAX_NAME);
    }
}

fn names(reader: &mut Reader<'_>, field: &str) -> Result<Vec<String>, Malformed> {
    reader.list(MAX_LIST, field, |reader| reader.name(MAX_NAME, field))
}

#[cfg(test)]
mod tests;
