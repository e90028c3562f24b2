//! Errors of calls, streams and roles: what happened, and whether the function may have run.
//!
//! | type            | is the error of                                                       |
//! |-----------------|-----------------------------------------------------------------------|
//! | [`Error`]       | a call of a function that returns a plain value; the set-up of a role |
//! | [`CallError`]   | a call of a function that returns a `Result`                          |
//! | [`StreamError`] | a stream whose set-up and whose items can fail, in a [`CallError`]    |

mod call_error;
mod chain;
pub(crate) mod printable;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use crate::error::call_error::{CallError, StreamError};
pub(crate) use crate::error::chain::with_causes;
use crate::error::printable::one_line;

/// The error of a call, a stream, or the set-up of a role.
///
/// One opaque type for everything except the function's own error, which is
/// [`CallError::Function`]. With `err = "display"` that is an `Error` too, of kind
/// [`Failed`](ErrorKind::Failed).
///
/// | method                                | returns                                    |
/// |---------------------------------------|--------------------------------------------|
/// | [`kind`](Error::kind)                 | what happened                              |
/// | [`executed`](Error::executed)         | whether the function may have run          |
/// | [`is_retryable`](Error::is_retryable) | whether the same call may succeed later    |
/// | [`retry_after`](Error::retry_after)   | how long to wait before that               |
/// | [`node`](Error::node)                 | the node that received the call            |
/// | [`delivered`](Error::delivered)       | the number of items before a stream failed |
///
/// `Display` writes what failed, where, and what to do about it, on one line without control
/// characters, also if a peer has written the text. It leaves out the cause, which is the
/// [`source`](StdError::source). An error that came over the network has no source; its text
/// includes the causes.
///
/// ```
/// # use easyremote::{Client, ErrorKind, Executed, Gateway, remote};
/// # #[remote]
/// # async fn add(a: i64, b: i64) -> i64;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let error = add::call(&client, 1, 2).await.unwrap_err(); // no node offers it
/// assert_eq!(error.kind(), ErrorKind::NoSuchFunction);
/// assert_eq!(error.executed(), Executed::No);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "status")]
#[doc(alias = "failure")]
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

/// Longest text of an error, in bytes: it may contain two signatures of 4 KiB each.
const MAX_MESSAGE: usize = 16 << 10;

impl Error {
    /// Creates an error with which a [middleware](crate::node::NodeBuilder::wrap) refuses a call.
    /// Its [`executed`](Self::executed) is `No`.
    ///
    /// The caller gets the same kind, except for `NoNode`, `NodeLost`, `ConnectionLost`,
    /// `BadResponse`, `Panicked`, `SlowConsumer` and `Failed`, which become `Unavailable`. Line
    /// breaks and tabs in `message` become spaces; invisible characters are removed.
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

    /// Appends to the text what else happened.
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

    /// Returns what happened; [`ErrorKind`] lists the kinds. More may be added, so a `match` needs
    /// a `_` arm.
    ///
    /// ```
    /// # use easyremote::{Client, ErrorKind, Executed, Gateway, remote};
    /// # #[remote]
    /// # async fn add(a: i64, b: i64) -> i64;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = add::call(&client, 1, 2).await.unwrap_err();
    /// match error.kind() {
    ///     ErrorKind::NoSuchFunction | ErrorKind::NoNode => println!("not offered: {error}"),
    ///     _ => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "code")]
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// Returns whether the function may have run.
    ///
    /// [`Executed::No`] is a guarantee that it did not: repeating the call runs nothing twice.
    ///
    /// ```
    /// # use easyremote::{Client, ErrorKind, Executed, Gateway, remote};
    /// # #[remote]
    /// # async fn add(a: i64, b: i64) -> i64;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = add::call(&client, 1, 2).on("gpu-1").await.unwrap_err();
    /// assert_eq!(error.executed(), Executed::No); // safe to call again
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "at most once")]
    #[doc(alias = "idempotent")]
    #[must_use]
    pub fn executed(&self) -> Executed {
        self.inner.executed
    }

    /// Returns the id of the node that received the call or part of it, where that is known.
    ///
    /// `None` if no node received the call, even if the text names nodes that offer the function.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn fails() { panic!("no luck") }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![fails]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = fails::call(&client).await.unwrap_err();
    /// assert_eq!(error.node(), Some("node-1"));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        self.inner.node.as_deref()
    }

    /// Returns the number of items that a stream had delivered before the error; 0 for a call.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use futures::StreamExt;
    /// #[remote(stream)]
    /// fn numbers() -> impl Iterator<Item = u64> {
    ///     (0..3).inspect(|n| assert!(*n < 2, "no third item"))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).functions(functions![numbers]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let items: Vec<_> = numbers::call(&client).collect().await;
    /// assert_eq!(items[2].as_ref().unwrap_err().delivered(), 2);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.inner.delivered
    }

    /// Returns how long to wait before the next attempt, if the party that refused the call has set
    /// it: the client, the gateway or the node when it is `Overloaded`, or a middleware with
    /// [`with_retry_after`](Self::with_retry_after). [`Retry`](crate::Retry) waits at least this
    /// long.
    ///
    /// ```
    /// # use easyremote::{Client, Error, remote};
    /// # #[remote]
    /// # async fn add(a: i64, b: i64) -> i64;
    /// # async fn example(client: Client) -> Result<i64, Error> {
    /// let error = match add::call(&client, 1, 2).await {
    ///     Err(error) if error.is_retryable() => error,
    ///     result => return result,
    /// };
    /// tokio::time::sleep(error.retry_after().unwrap_or_default()).await;
    /// add::call(&client, 1, 2).await // one more attempt
    /// # }
    /// ```
    #[doc(alias = "backoff")]
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.inner.retry_after
    }

    /// Returns `true` if the call has certainly not run and the same call may succeed later.
    ///
    /// These are the kinds `Unavailable`, `NoNode`, `Overloaded`, `NodeLost`, `ConnectionLost` and
    /// `Draining` with [`Executed::No`]. `NoSuchFunction` is not among them: no node has offered
    /// the function so far, so the name may be wrong. [`Retry`](crate::Retry) does this check
    /// itself.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).id("node-1").functions(functions![add]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let error = add::call(&client, 1, 2).on("node-2").await.unwrap_err();
    /// assert!(error.is_retryable()); // the node may connect later
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "transient")]
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

/// Returns a message as one printable line of limited length.
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

/// Checks that a limit that the program has set is not 0.
///
/// # Errors
/// `InvalidInput` if it is 0.
pub(crate) fn not_zero(name: &str, limit: u64) -> Result<(), Error> {
    match limit {
        0 => {
            Err(Error::new(ErrorKind::InvalidInput, format!("`{name}` is 0; set it to at least 1")))
        }
        _ => Ok(()),
    }
}

/// Whether a function may have run when its call failed, from [`Error::executed`].
///
/// | value                      | what it means                  | a repetition     |
/// |----------------------------|--------------------------------|------------------|
/// | [`No`](Executed::No)       | guaranteed: it did not start   | runs it once     |
/// | [`Maybe`](Executed::Maybe) | unknown                        | may run it twice |
/// | [`Yes`](Executed::Yes)     | it started, and may have ended | runs it twice    |
#[doc(alias = "at most once")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Executed {
    /// The function did not start. This is a guarantee, never a guess.
    No,
    /// The function may have started, and no party that could tell can be reached.
    Maybe,
    /// The function started.
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

    /// Combines what two attempts at one call have shown.
    pub(crate) fn or(self, other: Self) -> Self {
        if self.code() < other.code() { other } else { self }
    }

    /// An unknown code is `Maybe`, the only value that claims nothing.
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
        /// The kind of an [`Error`], from [`Error::kind`].
        #[doc(alias = "code")]
        #[doc(alias = "status")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
        }

        impl ErrorKind {
            /// Returns the number of the kind on the wire and in QUIC reset codes.
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

            pub(crate) const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

// The numbers are part of the wire contract: never change or reuse one.
kinds! {
    /// No gateway can be reached; or the version of the gateway or node lacks a feature that the
    /// call uses.
    Unavailable = 1,
    /// No node has offered a function of this name since the gateway started.
    NoSuchFunction = 2,
    /// A node has offered the function, but no connected node that fits the call offers it now.
    NoNode = 3,
    /// The caller and the nodes have different types for the function's arguments or results.
    SignatureMismatch = 4,
    /// The peer did not prove its identity.
    Unauthenticated = 5,
    /// The peer has proven its identity, and lacks the permission.
    PermissionDenied = 6,
    /// A limit of calls, streams or memory is reached.
    Overloaded = 7,
    /// Arguments, a result or an item exceed the limit for one message.
    TooLarge = 8,
    /// The node cannot decode the arguments.
    BadArguments = 9,
    /// The caller cannot decode the result, or the node cannot encode it.
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
    /// The gateway or node is shutting down, and accepts no new calls.
    Draining = 16,
    /// The consumer of a stream did not read for too long while items were waiting.
    SlowConsumer = 17,
    /// The function failed with an error that travels as text (`err = "display"`).
    Failed = 18,
    /// A peer violated the protocol.
    Protocol = 19,
    /// A mistake of this program, found before anything is sent:
    ///
    /// - an invalid address, ticket, id, tag, name, rule or limit;
    /// - two functions with one name, or a missing state;
    /// - an option that exceeds its limit;
    /// - a value that cannot be encoded. If that is an item of a client stream, the call has been
    ///   sent already.
    InvalidInput = 20,
    /// A [resumable](crate::StreamCall::resumable) stream was lost, and could not be resumed without
    /// loss. The items before [`Error::delivered`] have arrived. Or it was a call of a
    /// `#[remote(resumable)]` function, which has taken an unknown part of its client stream.
    Gap = 21,
    /// The node knows no such job of this identity: it has expired, was lost with its node, or never
    /// existed.
    NoSuchJob = 22,
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
