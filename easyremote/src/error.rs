//! What can go wrong with a call, and whether the function may have run.

mod chain;
pub(crate) mod printable;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use crate::error::chain::with_causes;
use crate::error::printable::one_line;

/// Why a call, a stream, or the set-up of a role failed.
///
/// One opaque type for everything that is not the function's own error (that one is
/// [`CallError::Function`]). Ask [`kind`](Error::kind) what happened and
/// [`executed`](Error::executed) whether the function may have run; the text says what, where,
/// and what to do. It is one line without control characters, whoever has written it. `Display`
/// shows the error itself; what caused it is its [`source`](StdError::source), and not repeated. An
/// error that came over the network has its causes in its text.
#[derive(Clone)]
pub struct Error {
    // Boxed: a call's `Result` stays one pointer wide on the path that succeeds.
    inner: Box<ErrorParts>,
}

#[derive(Clone)]
struct ErrorParts {
    kind: ErrorKind,
    executed: Executed,
    message: Cow<'static, str>,
    node: Option<Arc<str>>,
    delivered: u64,
    retry_after: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// Longest text of an error, in bytes. A signature of 4 KiB may be a part of it, and another.
const MAX_MESSAGE: usize = 16 << 10;

impl Error {
    /// An error with which a [middleware](crate::node::NodeBuilder::wrap) refuses a call, and
    /// [`executed`](Self::executed) `No`.
    ///
    /// Control characters and line breaks in `message` are escaped.
    ///
    /// ```
    /// use easyremote::{Error, ErrorKind, Executed};
    ///
    /// let error = Error::new(ErrorKind::PermissionDenied, "send the key as metadata");
    /// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    /// assert_eq!(error.executed(), Executed::No);
    /// ```
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            inner: Box::new(ErrorParts {
                kind,
                executed: Executed::No,
                message: shown(message.into()),
                node: None,
                delivered: 0,
                retry_after: None,
                source: None,
            }),
        }
    }

    /// Adds what else happened to the text.
    pub(crate) fn with_more(mut self, more: fmt::Arguments<'_>) -> Self {
        self.inner.message = shown(format!("{}; {more}", self.inner.message).into());
        self
    }

    pub(crate) fn with_executed(mut self, executed: Executed) -> Self {
        self.inner.executed = executed;
        self
    }

    pub(crate) fn with_node(mut self, node: impl Into<Arc<str>>) -> Self {
        let node = node.into();
        self.inner.node = Some(match one_line(&node, MAX_MESSAGE) {
            Cow::Borrowed(_) => node,
            Cow::Owned(shown) => shown.into(),
        });
        self
    }

    pub(crate) fn with_delivered(mut self, items: u64) -> Self {
        self.inner.delivered = items;
        self
    }

    /// Asks callers to wait before the next attempt: see [`retry_after`](Self::retry_after).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::{Error, ErrorKind};
    ///
    /// let wait = Duration::from_secs(1);
    /// let error = Error::new(ErrorKind::Overloaded, "busy").with_retry_after(wait);
    /// assert_eq!(error.retry_after(), Some(wait));
    /// ```
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.inner.retry_after = Some(wait);
        self
    }

    pub(crate) fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.inner.source = Some(Arc::new(source));
        self
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Whether the function may have run.
    ///
    /// [`Executed::No`] is a proof: the call can be made again without running anything twice.
    #[must_use]
    pub fn executed(&self) -> Executed {
        self.inner.executed
    }

    /// The id of the node that got the call, or a part of it, where that is known. A call that no
    /// node got has none, also where its text names the nodes that might have.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.inner.node.as_deref()
    }

    /// The number of items that a stream had delivered before it broke; 0 for a call.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.inner.delivered
    }

    /// How long the refusing party asks to wait before the next attempt, if it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Whether the same call may succeed later without any change, and did certainly not run.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.inner.executed == Executed::No
            && matches!(
                self.inner.kind,
                ErrorKind::Unavailable
                    | ErrorKind::NoNode
                    | ErrorKind::Overloaded
                    | ErrorKind::NodeLost
                    | ErrorKind::ConnectionLost
                    | ErrorKind::Draining
            )
    }
}

/// A message that is fit to be shown.
fn shown(message: Cow<'static, str>) -> Cow<'static, str> {
    match one_line(&message, MAX_MESSAGE) {
        Cow::Borrowed(_) => message,
        Cow::Owned(shown) => shown.into(),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.inner.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.inner;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind)
            .field("executed", &inner.executed)
            .field("message", &inner.message);
        if let Some(node) = &inner.node {
            out.field("node", node);
        }
        if inner.delivered > 0 {
            out.field("delivered", &inner.delivered);
        }
        if let Some(wait) = &inner.retry_after {
            out.field("retry_after", wait);
        }
        if let Some(source) = &inner.source {
            out.field("source", source);
        }
        out.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.inner.source {
            Some(source) => Some(&**source),
            None => None,
        }
    }
}

/// Whether a limit that a program has set lets anything through.
///
/// # Errors
/// `InvalidInput` if it is 0.
pub(crate) fn not_zero(name: &str, limit: u64) -> Result<(), Error> {
    match limit {
        0 => Err(Error::new(ErrorKind::InvalidInput, format!("`{name}` is 0, and must not be"))),
        _ => Ok(()),
    }
}

/// Whether a function may have run when its call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// It did not start. A proof, never a guess.
    No,
    /// It may have started; nobody who is left to ask can tell.
    Maybe,
    /// It started.
    Yes,
}

impl Executed {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Maybe => 1,
            Self::Yes => 2,
        }
    }

    /// What is known of two attempts at one call.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.code() < other.code() { other } else { self }
    }

    /// An unknown code is `Maybe`: the only answer that cannot be a lie.
    pub(crate) fn from_code(code: u8) -> Self {
        match code {
            0 => Self::No,
            2 => Self::Yes,
            _ => Self::Maybe,
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kinds of [`Error`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
        }

        impl ErrorKind {
            /// The number that stands for the kind on the wire and in QUIC reset codes.
            pub(crate) fn code(self) -> u16 {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            pub(crate) fn from_code(code: u64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

// The numbers are part of the wire contract: never change or reuse one.
kinds! {
    /// No gateway can be reached, or the gateway or node is of a version that lacks a feature which
    /// the call asks for.
    Unavailable = 1,
    /// The gateway knows no function of this name.
    NoSuchFunction = 2,
    /// The function is known, but no node that fits the call offers it now.
    NoNode = 3,
    /// Caller and node disagree about the types of the function's arguments or results.
    SignatureMismatch = 4,
    /// The peer did not prove who it is.
    Unauthenticated = 5,
    /// The peer is known and may not do this.
    PermissionDenied = 6,
    /// A limit is reached; nothing was started.
    Overloaded = 7,
    /// Arguments, an answer or an item exceed the limit for one message.
    TooLarge = 8,
    /// The node could not make sense of the arguments.
    BadArguments = 9,
    /// The caller could not make sense of the answer.
    BadResponse = 10,
    /// The call's deadline passed.
    DeadlineExceeded = 11,
    /// The call was cancelled by a party other than the caller.
    Cancelled = 12,
    /// The function panicked.
    Panicked = 13,
    /// The connection between gateway and node broke.
    NodeLost = 14,
    /// The connection to the gateway broke.
    ConnectionLost = 15,
    /// The party is shutting down and takes no new calls.
    Draining = 16,
    /// The consumer of a stream took nothing for too long.
    SlowConsumer = 17,
    /// The function failed with an error that travels as text.
    Failed = 18,
    /// A peer broke the rules of the wire.
    Protocol = 19,
    /// The program's own mistake, found at its own side: an address, ticket, id, tag, name, rule or
    /// limit that is none, two functions of one name, a missing state, options beyond their limits,
    /// or a value that cannot be encoded. Nothing was sent, unless the value is an item of a client
    /// stream.
    InvalidInput = 20,
}

/// The error of a call to a function that returns a `Result`.
///
/// Either the function ran and returned its own `Err`, or the call itself failed.
#[derive(Clone, Debug)]
pub enum CallError<E> {
    /// The function's own error.
    Function(E),
    /// Everything else.
    Remote(Error),
}

impl<E> CallError<E> {
    /// The function's own error, if that is what it is.
    #[must_use]
    pub fn function(&self) -> Option<&E> {
        match self {
            Self::Function(error) => Some(error),
            Self::Remote(_) => None,
        }
    }

    /// The error of the call itself, if that is what it is.
    #[must_use]
    pub fn remote(&self) -> Option<&Error> {
        match self {
            Self::Function(_) => None,
            Self::Remote(error) => Some(error),
        }
    }

    /// Whether the function may have run; [`Executed::Yes`] if it returned its own error.
    #[must_use]
    pub fn executed(&self) -> Executed {
        match self {
            Self::Function(_) => Executed::Yes,
            Self::Remote(error) => error.executed(),
        }
    }
}

impl<E> From<Error> for CallError<E> {
    fn from(error: Error) -> Self {
        Self::Remote(error)
    }
}

impl<E: fmt::Display> fmt::Display for CallError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function(error) => error.fmt(f),
            Self::Remote(error) => error.fmt(f),
        }
    }
}

impl<E: StdError + 'static> StdError for CallError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Function(error) => error.source(),
            Self::Remote(error) => error.source(),
        }
    }
}

/// The function's own error of a stream whose set-up *and* whose items can fail.
///
/// Seen as [`CallError::Function`] when such a stream is consumed without
/// [`open`](crate::StreamCall::open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError<S, E> {
    /// The set-up failed; there are no items.
    Setup(S),
    /// One item failed; the stream goes on.
    Item(E),
}

impl<S: fmt::Display, E: fmt::Display> fmt::Display for StreamError<S, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup(error) => error.fmt(f),
            Self::Item(error) => error.fmt(f),
        }
    }
}

impl<S: StdError + 'static, E: StdError + 'static> StdError for StreamError<S, E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Setup(error) => error.source(),
            Self::Item(error) => error.source(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_code() {
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(u64::from(kind.code())), Some(*kind));
        }
        assert_eq!(ErrorKind::from_code(0), None);
    }

    #[test]
    fn an_unknown_execution_state_is_maybe() {
        assert_eq!(Executed::from_code(200), Executed::Maybe);
        for state in [Executed::No, Executed::Maybe, Executed::Yes] {
            assert_eq!(Executed::from_code(state.code()), state);
        }
    }

    #[test]
    fn only_what_did_not_start_is_retryable() {
        let lost = Error::new(ErrorKind::NodeLost, "node lost");
        assert!(lost.is_retryable());
        assert!(!lost.with_executed(Executed::Maybe).is_retryable());
        assert!(!Error::new(ErrorKind::BadArguments, "bad").is_retryable());
    }
}
