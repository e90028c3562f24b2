//! Call options: set on one call, or on a handle for all its calls.
//!
//! The macro `options!` writes the setters once, and implements them for each type that takes them:
//! [`Options`], [`Call`](crate::Call), [`StreamCall`](crate::StreamCall) and their relatives.

use std::fmt;
use std::time::Duration;

use ring::digest;
use tokio::time::Instant;

use crate::call::deadline::now;
use crate::client::retry::Retry;
use crate::error::{Error, ErrorKind};
use crate::wire::header::MetadataKeys;
use crate::wire::limits::{MAX_LIST, MAX_METADATA, MAX_NAME, MAX_TIMEOUT};
use crate::wire::routing_options::RoutingOptions;
use crate::wire::trace_context::TraceContext;

/// Options for all calls and streams of one client handle; see
/// [`Client::with`](crate::Client::with).
///
/// The setters are the same as on [`Call`](crate::Call). Where an option is set more than once, the
/// most specific value wins:
///
/// 1. the option of the call itself
/// 2. the option of the handle
/// 3. the option of the function, from `#[remote(..)]`
///
/// Tags and metadata are lists: those of the call are appended to those of the handle. A call whose
/// options exceed a limit fails with [`InvalidInput`](ErrorKind::InvalidInput), and nothing is
/// sent.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::{Client, Options};
///
/// fn on_gpus(client: &Client) -> Client {
///     client.with(Options::new().tag("gpu").timeout(Duration::from_secs(30)))
/// }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[must_use = "options do nothing until they are given to `Client::with`"]
pub struct Options {
    pub(super) until: DeadlineSpec,
    pub(super) routing: RoutingOptions,
    pub(super) metadata: Vec<(String, String)>,
    pub(super) retry: Option<Retry>,
    /// Boxed: few calls belong in a trace.
    pub(super) trace_context: Option<Box<TraceContext>>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, routing, metadata, retry, trace_context } = self;
        f.debug_struct("Options")
            .field("until", until)
            .field("routing", routing)
            .field("metadata", &MetadataKeys(metadata))
            .field("retry", retry)
            .field("trace_context", trace_context)
            .finish()
    }
}

/// The deadline that a caller has set, before the first poll makes it a point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DeadlineSpec {
    /// No deadline.
    #[default]
    Done,
    /// This long after the first poll.
    After(Duration),
    /// At this time.
    At(Instant),
}

impl DeadlineSpec {
    /// The deadline of a call that is first polled now.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Done => None,
            Self::After(timeout) => Some(now() + timeout.min(MAX_TIMEOUT)),
            Self::At(deadline) => Some(deadline),
        }
    }
}

impl Options {
    /// Returns options that set nothing.
    ///
    /// ```
    /// use easyremote::Options;
    ///
    /// assert_eq!(Options::new(), Options::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    fn set(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
    }

    /// Checks the options of a call of `function` against the limits of the wire, which the gateway
    /// enforces too.
    ///
    /// # Errors
    /// `InvalidInput`; the text names the option that exceeds its limit.
    pub(super) fn check(&self, function: &str) -> Result<(), Error> {
        let Self { routing, metadata, .. } = self;
        let is_name = |name: &String| (1..=MAX_NAME).contains(&name.len());
        let bytes = || metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let tags = [&routing.tags, &routing.preferred];
        let text = if !routing.on.iter().all(is_name) {
            format!("`on` takes a node id of 1 to {MAX_NAME} bytes")
        } else if tags.iter().any(|tags| tags.len() > MAX_LIST || !tags.iter().all(is_name)) {
            format!(
                "`tag` and `prefer_tag` take up to {MAX_LIST} tags each, of 1 to {MAX_NAME} bytes"
            )
        } else if metadata.len() > MAX_LIST || metadata.iter().any(|(key, _)| key.len() > MAX_NAME)
        {
            format!(
                "`metadata` takes up to {MAX_LIST} entries, with keys of up to {MAX_NAME} bytes"
            )
        } else if !metadata.is_empty() && bytes() > MAX_METADATA {
            format!("the metadata is {} bytes long, and the limit is {MAX_METADATA}", bytes())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("cannot call `{function}`: {text}")))
    }

    /// Overrides these options with those that `more` sets, and appends its tags and metadata.
    pub(super) fn and(mut self, more: Self) -> Self {
        if more.until != DeadlineSpec::Done {
            self.until = more.until;
        }
        self.metadata.extend(more.metadata);
        self.retry = more.retry.or(self.retry);
        self.trace_context = more.trace_context.or(self.trace_context);
        let (routing, more) = (&mut self.routing, more.routing);
        routing.on = more.on.or(routing.on.take());
        routing.tags.extend(more.tags);
        routing.preferred.extend(more.preferred);
        routing.sticky = more.sticky.or(routing.sticky);
        routing.strategy = more.strategy.or(routing.strategy);
        routing.wait |= more.wait;
        self
    }
}

/// The hash that is sent for the key of [`Call::sticky`](crate::Call::sticky). It is the same in
/// every process, so that all callers with one key reach the same node.
pub(super) fn sticky(key: &[u8]) -> u64 {
    let hash = digest::digest(&digest::SHA256, key);
    hash.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Implements the setters of call options for a type.
///
/// The type has a method `set(&mut self, impl FnOnce(&mut Options))`, which does nothing after the
/// first poll, or if the call has failed already. `$call` is the beginning of the statement that
/// sets the option in the examples.
macro_rules! options {
    ($call:literal, $($head:tt)*) => {
        $($head)* {
            /// Limits how long the call may take, from its first poll to its end.
            ///
            /// After that the call ends with
            /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and the node
            /// cancels the function. A stream has to end within this time too. The limit covers all
            /// [attempts](crate::Retry) together. Once it has passed, client, gateway and node send
            /// and start nothing more for the call: with a timeout of zero it fails before anything
            /// is sent, with [`Executed::No`](crate::Executed::No).
            ///
            /// Default: the timeout or deadline of the handle's [`Options`](crate::Options),
            /// otherwise the function's `#[remote(timeout = "..")]`, otherwise no limit. Values
            /// above one year count as one year, so `Duration::MAX` lifts a default. A later
            /// [`deadline`](Self::deadline) replaces it. Time is measured by the system's monotonic
            /// clock, also in a test that has paused tokio's.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".timeout(Duration::from_secs(5));",
                "use std::time::Duration;\n\n"
            )]
            /// ```
            #[doc(alias = "time limit")]
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.set(|options| {
                    options.until = $crate::client::options::DeadlineSpec::After(timeout);
                });
                self
            }

            /// Ends the call at `deadline`, like [`timeout`](Self::timeout) after a time.
            ///
            /// The call ends with
            /// [`ErrorKind::DeadlineExceeded`](crate::ErrorKind::DeadlineExceeded), and the node
            /// cancels the function. A deadline that has passed already sends nothing. Use it to
            /// give several calls one common limit. A later `timeout` replaces it.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".deadline(end);",
                "use std::time::{Duration, Instant};\n\n\
                 let end = Instant::now() + Duration::from_secs(60);\n"
            )]
            /// ```
            pub fn deadline(mut self, deadline: std::time::Instant) -> Self {
                self.set(|options| {
                    options.until = $crate::client::options::DeadlineSpec::At(deadline.into());
                });
                self
            }

            /// Sends the call to the node with this id, and to no other.
            ///
            /// Fails with [`ErrorKind::NoNode`](crate::ErrorKind::NoNode) if that node is not
            /// connected, unless the call [waits for it](Self::wait_for_node). An id is 1 to 128
            /// bytes long.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".on(\"gpu-1\");", "")]
            /// ```
            #[doc(alias = "node")]
            pub fn on(mut self, node: impl Into<String>) -> Self {
                self.set(|options| options.routing.on = Some(node.into()));
                self
            }

            /// Requires a node with this tag.
            ///
            /// May be set up to 64 times; the node must have all the tags. A tag is 1 to 128 bytes
            /// long. Fails with [`ErrorKind::NoNode`](crate::ErrorKind::NoNode) if no connected
            /// node that offers the function has them.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".tag(\"gpu\").tag(\"eu\");", "")]
            /// ```
            #[doc(alias = "label")]
            #[doc(alias = "require")]
            pub fn tag(mut self, tag: impl Into<String>) -> Self {
                self.set(|options| options.routing.tags.push(tag.into()));
                self
            }

            /// Prefers a node with this tag if one has room, and uses any other node otherwise.
            ///
            /// May be set up to 64 times; a preferred node has all the tags. A tag is 1 to 128
            /// bytes long.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".prefer_tag(\"same-rack\");", "")]
            /// ```
            #[doc(alias = "affinity")]
            pub fn prefer_tag(mut self, tag: impl Into<String>) -> Self {
                self.set(|options| options.routing.preferred.push(tag.into()));
                self
            }

            /// Routes calls of one function with equal keys to the same node, for all callers: for
            /// caches and sessions that live there.
            ///
            /// When a node joins or leaves, only the keys that it gets or had move (rendezvous
            /// hashing: Thaler and Ravishankar, 1998). If the node of a key is full, the call goes
            /// to the next one. A [`strategy`](Self::strategy) is ignored. The key may have any
            /// length; only its hash is sent.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".sticky(\"user-17\");", "")]
            /// ```
            #[doc(alias = "affinity")]
            #[doc(alias = "session")]
            #[doc(alias = "consistent hashing")]
            pub fn sticky(mut self, key: impl AsRef<[u8]>) -> Self {
                let key = $crate::client::options::sticky(key.as_ref());
                self.set(|options| options.routing.sticky = Some(key));
                self
            }

            /// Sets how the gateway chooses among the nodes that fit.
            ///
            /// Default: [`Strategy::LeastBusy`](crate::Strategy::LeastBusy). Ignored by a call that
            /// has a [`sticky`](Self::sticky) key.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".strategy(Strategy::Fastest);",
                "use easyremote::Strategy;\n\n"
            )]
            /// ```
            #[doc(alias = "load balancing")]
            pub fn strategy(mut self, strategy: $crate::wire::routing_options::Strategy) -> Self {
                self.set(|options| options.routing.strategy = Some(strategy));
                self
            }

            /// Sets the retry policy; see [`Retry`](crate::Retry), also for the default. A stream
            /// is retried only until it is open.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".retry(Retry::new().attempts(5));",
                "use easyremote::Retry;\n\n"
            )]
            /// ```
            #[doc(alias = "backoff")]
            pub fn retry(mut self, retry: $crate::client::retry::Retry) -> Self {
                self.set(|options| options.retry = Some(retry));
                self
            }

            /// Waits for a node that can run the call, instead of failing if none can now.
            ///
            /// The call waits until its deadline, or without limit if it has none. It does not fail
            /// with
            /// - [`ErrorKind::NoSuchFunction`](crate::ErrorKind::NoSuchFunction);
            /// - [`ErrorKind::NoNode`](crate::ErrorKind::NoNode);
            /// - [`ErrorKind::SignatureMismatch`](crate::ErrorKind::SignatureMismatch), where all
            ///   connected nodes offer the function with other types.
            ///
            /// A client of several gateways asks each of them once, and then waits at each in turn,
            /// for 1 s to 4 s. A call that cannot be [retried](crate::Retry) waits at one gateway.
            ///
            /// ```
            #[doc = $crate::client::options::example!($call, ".wait_for_node();", "")]
            /// ```
            pub fn wait_for_node(mut self) -> Self {
                self.set(|options| options.routing.wait = true);
                self
            }

            /// Adds a key and a value that the function reads with
            /// [`Context::metadata`](crate::Context::metadata), beside its arguments.
            ///
            /// At most 64 entries, with keys of at most 128 bytes, and 8 KiB of keys and values
            /// together; beyond that the call fails with
            /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput). `Debug` shows the keys
            /// only, since values may be secrets.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".metadata(\"tenant\", \"acme\");",
                ""
            )]
            /// ```
            #[doc(alias = "header")]
            pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.set(|options| options.metadata.push((key.into(), value.into())));
                self
            }

            /// Makes the call a part of a distributed trace, as a child of the span that the context
            /// names.
            ///
            /// For a context that has come with a request of another protocol, in a header
            /// `traceparent`. It reaches the function, which reads it with
            /// [`Context::trace_context`](crate::Context::trace_context), unchanged through retries
            /// and gateways. The calls that a function makes with
            /// [`Context::client`](crate::Context::client) have the context of the function without
            /// it, jobs and calls of `detached` functions too.
            ///
            /// ```
            #[doc = $crate::client::options::example!(
                $call, ".trace_context(context);",
                "use easyremote::client::TraceContext;\n\n\
                 let context = TraceContext::new(4_711, 1, true).unwrap();\n"
            )]
            /// ```
            #[doc(alias = "traceparent")]
            #[doc(alias = "OpenTelemetry")]
            pub fn trace_context(
                mut self,
                context: $crate::wire::trace_context::TraceContext,
            ) -> Self {
                self.set(|options| options.trace_context = Some(Box::new(context)));
                self
            }
        }
    };
}
pub(super) use options;

/// The text of an example: `$setup`, then the statement `$call` with `$option` set.
macro_rules! example {
    ($call:literal, $option:literal, $setup:literal) => {
        concat!(
            "# use easyremote::{Client, Options, remote};\n",
            "# use serde_json::json;\n",
            "# #[remote] async fn add(a: i64, b: i64) -> i64;\n",
            "# #[remote(stream)] async fn count(from: u64) -> impl futures::Stream<Item = u64>;\n",
            "# fn example(client: Client) {\n",
            $setup,
            $call,
            $option,
            "\n# }",
        )
    };
}
pub(super) use example;

options!("let options = Options::new()", impl Options);
