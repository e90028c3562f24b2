//! What is known of a function at compile time.

use std::fmt;
use std::time::Duration;

use crate::wire::kind::Kind;

/// The compile-time description of a remote function; written by `#[remote]`.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) parameters: &'static [&'static str],
    pub(crate) doc: &'static str,
    pub(crate) timeout: Option<Duration>,
    /// Whether running it twice is as good as running it once.
    pub(crate) idempotent: bool,
    pub(crate) origin: Origin,
}

/// Where a function is defined, for messages about two functions of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Descriptor {
    /// A function that is called `name` on the wire and is defined at `file:line`.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, file: &'static str, line: u32) -> Self {
        Self {
            name,
            kind,
            parameters: &[],
            doc: "",
            timeout: None,
            idempotent: false,
            origin: Origin { file, line },
        }
    }

    /// The names of the arguments, in order.
    #[must_use]
    pub const fn parameters(mut self, parameters: &'static [&'static str]) -> Self {
        self.parameters = parameters;
        self
    }

    /// The function's doc comment.
    #[must_use]
    pub const fn doc(mut self, doc: &'static str) -> Self {
        self.doc = doc;
        self
    }

    /// The default timeout of a call, in milliseconds.
    #[must_use]
    pub const fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout = Some(Duration::from_millis(timeout_ms));
        self
    }

    /// Says that running the function twice is as good as running it once.
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// The same function, as it is implemented at `file:line`.
    #[must_use]
    pub const fn implemented_at(mut self, file: &'static str, line: u32) -> Self {
        self.origin = Origin { file, line };
        self
    }
}
