//! The kinds of functions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a function: which sides send a stream.
///
/// | kind       | the caller sends         | the function returns |
/// |------------|--------------------------|----------------------|
/// | `Unary`    | arguments                | one result           |
/// | `Stream`   | arguments                | a stream of items    |
/// | `Upload`   | arguments and a stream   | one result           |
/// | `Duplex`   | arguments and a stream   | a stream of items    |
///
/// An `Operator` is not called: it acts on the items of a stream, see
/// [`StreamCall::through`](crate::StreamCall::through).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// One call, one result.
    Unary,
    /// One call, a stream of items.
    Stream,
    /// A stream from the caller, one result.
    Upload,
    /// A stream from the caller, and a stream of items.
    Duplex,
    /// Applied to the items of a stream, at the node that returns it.
    Operator,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Unary => 0,
            Self::Stream => 1,
            Self::Upload => 2,
            Self::Duplex => 3,
            Self::Operator => 4,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Unary),
            1 => Some(Self::Stream),
            2 => Some(Self::Upload),
            3 => Some(Self::Duplex),
            4 => Some(Self::Operator),
            _ => None,
        }
    }

    /// Returns whether a function of this kind can be called.
    pub(crate) fn is_callable(self) -> bool {
        self != Self::Operator
    }

    /// Returns whether the caller sends a stream.
    pub(crate) fn takes_stream(self) -> bool {
        matches!(self, Self::Upload | Self::Duplex)
    }

    /// Returns whether the function returns a stream.
    pub(crate) fn gives_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Duplex)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary",
            Self::Stream => "stream",
            Self::Upload => "upload",
            Self::Duplex => "duplex",
            Self::Operator => "operator",
        })
    }
}
