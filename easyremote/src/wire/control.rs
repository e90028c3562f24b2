//! The messages of the control stream, the first stream of each connection.
//!
//! The dialler opens it with [`Hello`] (and, if it is a node, [`Register`]); the gateway answers
//! [`Welcome`] (and `Registered`) or `Refused`. After that both sides send `Ping` every two seconds
//! and echo it as `Pong`.
//!
//! **Draining.**
//!
//! - A gateway that drains sends `Draining` to its clients. Clients of several gateways change to
//!   another one, and close this connection after their last call on it. The others start nothing
//!   that may take long: no stream, and no call of the functions in the last `Slow` message.
//! - A gateway that is about to end sends `Leave` to its clients. They make no new calls on this
//!   connection, and close it after the last one.
//! - A node that drains sends `Draining` to its gateways. They send it no more calls, and answer
//!   `Drained` after the last one.
//!
//! **Permits.** A node sends `Released` when the permit of a call is free again, which may be after
//! its answer, or after its stream was reset. A gateway whose caller is gone sends `Abandoned`, and
//! the node sends `Released` when the permit of that call is free. Both name the call by its QUIC
//! stream.
//!
//! **Flow control.** Both sides send `Credit` for the streams that they read
//! (`transport::quic::windows`).
//!
//! A message is a tag byte, and its fields in bincode, in the order of the struct:
//!
//! | tag | message      | from    | fields                                    |
//! |-----|--------------|---------|-------------------------------------------|
//! | 1   | `Hello`      | dialler | [`Hello`]                                 |
//! | 2   | `Welcome`    | gateway | [`Welcome`]                               |
//! | 3   | `Refused`    | gateway | those of an `Error` frame (`wire::error`) |
//! | 4   | `Register`   | node    | [`Register`]                              |
//! | 5   | `Registered` | gateway |                                           |
//! | 6   | `Ping`       | both    | a number                                  |
//! | 7   | `Pong`       | both    | the number of the `Ping`                  |
//! | 8   | `Draining`   | both    |                                           |
//! | 9   | `Drained`    | gateway |                                           |
//! | 10  | `Retag`      | node    | [`Retag`]                                 |
//! | 11  | `Retagged`   | gateway | the number of the `Retag`                 |
//! | 12  | `Credit`     | both    | [`Credit`]                                |
//! | 13  | `Released`   | node    | the id of a QUIC stream                   |
//! | 14  | `Abandoned`  | gateway | the id of a QUIC stream                   |
//! | 15  | `Leave`      | gateway |                                           |
//! | 128 | `Load`       | node    | [`NodeLoad`]                              |
//! | 129 | `Slow`       | gateway | [`SlowFunctions`]                         |
//! | 130 | `Gauges`     | node    | [`GaugeReport`]                           |
//!
//! Messages whose tag is 128 or more are notes: a peer skips a note that it does not know, and
//! rejects any other message that it does not know. Bytes after the fields of a known message are
//! ignored, so that a later version can add fields at the end of the outermost struct.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::wire::bytes::Malformed;
use crate::wire::error::{put_error_fields, read_error};
use crate::wire::fields;
use crate::wire::frame::{self, FrameKind};
use crate::wire::gauges::GaugeReport;
use crate::wire::kind::Kind;
use crate::wire::limits::MAX_CONTROL;
use crate::wire::load::NodeLoad;

/// The role of a peer of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Offers functions.
    Node,
    /// Calls functions.
    Client,
    /// Calls functions, without the restrictions of clients, and may query the gateway's
    /// [statistics](crate::Client::gateway_stats).
    Admin,
}

impl Role {
    /// All roles.
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
    /// Returns the name with its article, for error texts.
    pub(crate) fn described(self) -> &'static str {
        match self {
            Self::Node => "a node",
            Self::Client => "a client",
            Self::Admin => "an admin",
        }
    }
}

/// A message of the control stream.
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
    /// From a node: replaces the tags that it has registered with.
    Retag(Retag),
    /// From a gateway: calls are routed by the tags with this number now.
    Retagged(u64),
    /// The reader of a stream raises the limit of its sender.
    Credit(Credit),
    /// From a node: the permit of the call on this stream is free.
    Released {
        /// QUIC's id of the stream, at the node's connection.
        stream: u64,
    },
    /// From a gateway: the caller of the call on this stream is gone. The node sends [`Released`]
    /// when the permit of the call is free.
    ///
    /// [`Released`]: Control::Released
    Abandoned {
        /// QUIC's id of the stream, at the node's connection.
        stream: u64,
    },
    /// From a gateway: it is about to end.
    Leave,
    /// From a node, every two seconds: its load.
    Load(NodeLoad),
    /// From a node, with its load, if they have changed: the gauges that its program reports.
    Gauges(GaugeReport),
    /// From a gateway that drains: the functions that must not be called on this connection.
    Slow(SlowFunctions),
    /// A note that this version does not know, with its tag.
    Unknown(u8),
}

/// Identifies the token of a proof.
pub(crate) type TokenId = [u8; 8];

/// Proves that a peer holds a token. Valid on one connection only, and kept out of logs
/// nevertheless.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proof {
    pub(crate) token: TokenId,
    pub(crate) tag: [u8; 32],
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof(..)")
    }
}

/// Raises the limit of a stream's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credit {
    /// QUIC's id of the stream.
    pub(crate) stream: u64,
    /// Total number of bytes that may be sent on it.
    pub(crate) limit: u64,
}

/// The dialler's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    #[serde(with = "role")]
    pub(crate) role: Role,
    /// Proof that the dialler holds one of the role's tokens: see `transport::credentials`. `None`
    /// if it has authenticated with a certificate in the TLS handshake.
    pub(crate) proof: Option<Proof>,
    /// The node's id; empty for others.
    #[serde(with = "fields::name")]
    pub(crate) id: String,
    /// Random per process. Distinguishes a node that reconnects from another with the same id.
    pub(crate) boot: [u8; 16],
    /// Number of earlier connections of this process to this gateway.
    pub(crate) epoch: u64,
}

/// The gateway's acceptance of a peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Longest message that the gateway relays, in bytes.
    pub(crate) max_message: u64,
}

/// What a node offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Register {
    #[serde(with = "fields::names")]
    pub(crate) tags: Vec<String>,
    /// Most calls that the node accepts at a time.
    pub(crate) capacity: u64,
    #[serde(deserialize_with = "fields::functions")]
    pub(crate) functions: Vec<Offer>,
}

/// The tags of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retag {
    /// Increases with each change.
    pub(crate) number: u64,
    #[serde(with = "fields::names")]
    pub(crate) tags: Vec<String>,
}

/// Functions whose calls usually take long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SlowFunctions {
    #[serde(with = "fields::names")]
    pub(crate) names: Vec<String>,
}

/// One function that a node offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    #[serde(with = "fields::name")]
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) fingerprint: u64,
    #[serde(with = "fields::names")]
    pub(crate) parameters: Vec<String>,
    /// The types in readable form: `(a: i64, b: i64) -> i64`.
    #[serde(with = "fields::line")]
    pub(crate) signature: String,
    #[serde(with = "fields::lines")]
    pub(crate) doc: String,
    /// The tags that a node must have to run it.
    #[serde(with = "fields::names")]
    pub(crate) needs: Vec<String>,
    /// Most calls of it that the node runs at a time; 0 without a separate limit.
    pub(crate) concurrency: u64,
    /// The default timeout of its calls; 0 without one.
    pub(crate) timeout_ms: u64,
    /// Whether running it twice has the same effect as running it once.
    pub(crate) idempotent: bool,
    /// Whether it is offered to agents.
    pub(crate) tool: bool,
    /// What a caller with JSON sends and gets, as the text of [`FunctionSchemas`]; empty if the node
    /// sends none. A gateway checks it before it passes it on.
    ///
    /// [`FunctionSchemas`]: crate::wire::schemas::FunctionSchemas
    #[serde(with = "fields::schemas")]
    pub(crate) schemas: Arc<str>,
}

/// A role as one byte, as in a call header.
mod role {
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    use super::Role;

    pub(super) fn serialize<S: Serializer>(role: &Role, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(role.code())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        let code = u8::deserialize(from)?;
        let unknown = || D::Error::custom(format_args!("role {code} is unknown to this version"));
        Role::from_code(code).ok_or_else(unknown)
    }
}

/// The tag of `Refused`, whose fields are not derived.
const REFUSED: u8 = 3;

/// The first tag of a note, which a peer that does not know it skips.
const NOTES: u8 = 128;

/// Defines tag, encoding and decoding of messages. Errors use the name of the field.
macro_rules! messages {
    ($($tag:literal $message:ident $(($field:ident))? $({ $named:ident })?,)*) => {
        impl Control {
            /// Returns the name of the message, for logs and errors. Its fields may be long.
            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$message { .. } => stringify!($message),)*
                    Self::Refused(_) => "Refused",
                    Self::Unknown(_) => "Unknown",
                }
            }

            fn tag(&self) -> u8 {
                match self {
                    $(Self::$message { .. } => $tag,)*
                    Self::Refused(_) => REFUSED,
                    Self::Unknown(tag) => *tag,
                }
            }

            fn put_fields(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$message $(($field))? $({ $named })? => {
                        $(fields::put($field, out);)?
                        $(fields::put($named, out);)?
                    })*
                    Self::Refused(error) => put_error_fields(out, error),
                    Self::Unknown(_) => {}
                }
            }

            fn read_fields(tag: u8, body: &[u8]) -> Result<Self, Malformed> {
                Ok(match tag {
                    $($tag => Self::$message
                        $((fields::read(body, stringify!($field))?))?
                        $({ $named: fields::read(body, stringify!($named))? })?,)*
                    REFUSED => Self::Refused(read_error(body)?),
                    NOTES.. => Self::Unknown(tag),
                    _ => {
                        let text = format!("control message of unknown tag {tag}");
                        return Err(Malformed::new(text));
                    }
                })
            }
        }
    };
}

// The tags are those of the table at the head of this file.
messages! {
    1 Hello(hello),
    2 Welcome(welcome),
    4 Register(register),
    5 Registered,
    6 Ping(number),
    7 Pong(number),
    8 Draining,
    9 Drained,
    10 Retag(retag),
    11 Retagged(number),
    12 Credit(credit),
    13 Released { stream },
    14 Abandoned { stream },
    15 Leave,
    128 Load(load),
    129 Slow(functions),
    130 Gauges(gauges),
}

impl Control {
    /// Appends the message as a frame.
    ///
    /// # Errors
    /// The length of a message that exceeds [`MAX_CONTROL`].
    pub(crate) fn put(&self, out: &mut Vec<u8>) -> Result<(), usize> {
        let start = frame::begin(out, FrameKind::Control);
        out.push(self.tag());
        self.put_fields(out);
        frame::finish(out, start, MAX_CONTROL)
    }

    /// Decodes the body of a `Control` frame.
    ///
    /// # Errors
    /// If a field is malformed or exceeds its limit, or the tag is unknown and not that of a note.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let (tag, fields) =
            body.split_first().ok_or_else(|| Malformed::new("an empty control message"))?;
        match Self::read_fields(*tag, fields)? {
            Self::Load(load) => Ok(Self::Load(load.sane())),
            Self::Gauges(gauges) => Ok(Self::Gauges(gauges.sane())),
            message => Ok(message),
        }
    }
}

#[cfg(test)]
mod tests;
