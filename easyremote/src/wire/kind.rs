//! The kinds of functions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a function gives one result or a stream of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// One call, one result.
    Unary,
    /// One call, a stream of items.
    Stream,
}

impl Kind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Unary => 0,
            Self::Stream => 1,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Unary),
            1 => Some(Self::Stream),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unary => "unary",
            Self::Stream => "stream",
        })
    }
}
