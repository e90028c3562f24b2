//! Options of calls: of one, or of all that are made with one handle.

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

/// Options for all calls and streams that are made with one handle of a client; see
/// [`Client::with`](crate::Client::with).
///
/// They are those of [`Call`](crate::Call). What is set on a call itself goes before them, and they
/// go before what `#[remote(..)]` says; tags and metadata add up.
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
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { until, routing, metadata, retry } = self;
        f.debug_struct("Options")
            .field("until", until)
            .field("routing", routing)
            .field("metadata", &MetadataKeys(metadata))
            .field("retry", retry)
            .finish()
    }
}

/// When a call's time is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DeadlineSpec {
    /// Never.
    #[default]
    Done,
    /// So long after the first poll.
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
    /// No options.
    pub fn new() -> Self {
        Self::default()
    }

    fn set(&mut self, change: impl FnOnce(&mut Self)) {
        change(self);
    }

    /// Whether they keep to the limits of the wire, for a call of `function`. The gateway would
    /// refuse the call.
    ///
    /// # Errors
    /// `InvalidInput`, with what is beyond its limit.
    pub(super) fn check(&self, function: &str) -> Result<(), Error> {
        let Self { routing, metadata, .. } = self;
        let is_name = |name: &String| (1..=MAX_NAME).contains(&name.len());
        let bytes = || metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let tags = [&routing.tags, &routing.preferred];
        let text = if !routing.on.iter().all(is_name) {
            format!("`on` takes the id of a node, which has 1 to {MAX_NAME} bytes")
        } else if tags.iter().any(|tags| tags.len() > MAX_LIST || !tags.iter().all(is_name)) {
            format!(
                "a call may ask for {MAX_LIST} tags, and prefer as many, of 1 to {MAX_NAME} bytes"
            )
        } else if metadata.len() > MAX_LIST || metadata.iter().any(|(key, _)| key.len() > MAX_NAME)
        {
            format!(
                "metadata has at most {MAX_LIST} entries, with keys of at most {MAX_NAME} bytes"
            )
        } else if !metadata.is_empty() && bytes() > MAX_METADATA {
            format!("metadata has {} bytes, and the limit is {MAX_METADATA}", bytes())
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::InvalidInput, format!("cannot call `{function}`: {text}")))
    }

    /// These, and `more` over them: lists are put together, of the rest what `more` sets counts.
    pub(super) fn and(mut self, more: Self) -> Self {
        if more.until != DeadlineSpec::Done {
            self.until = more.until;
        }
        self.metadata.extend(more.metadata);
        self.retry = more.retry.or(self.retry);
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

/// What stands on the wire for the key of [`Call::sticky`](crate::Call::sticky): the same in every
/// process, so that all callers of a key find the same node.
pub(super) fn sticky(key: &[u8]) -> u64 {
    let hash = digest::digest(&digest::SHA256, key);
    hash.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Gives a type the options of a call. The type has a method `set(&mut self, impl FnOnce(&mut
/// Options))`, which does nothing after the first poll or if the call is doomed anyway.
macro_rules! options {
    ($($head:tt)*) => {
        $($head)* {
            /// Ends the call with [`ErrorKind::DeadlineExceeded`](crate::ErrorKind) if it is not
            /// over so long after the first poll. The node is told, and stops too.
            ///
            /// Unlimited unless set here or by `#[remote(timeout = "..")]`. The clock is that of the
            /// machine, also for a caller whose test has paused tokio's.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.set(|options| {
                    options.until = $crate::client::options::DeadlineSpec::After(timeout);
                });
                self
            }

            /// Ends the call with [`ErrorKind::DeadlineExceeded`](crate::ErrorKind) if it is not
            /// over at `deadline`. The node is told, and stops too.
            pub fn deadline(mut self, deadline: std::time::Instant) -> Self {
                self.set(|options| {
                    options.until = $crate::client::options::DeadlineSpec::At(deadline.into());
                });
                self
            }

            /// Lets only the node with this id run the call.
            pub fn on(mut self, node: impl Into<String>) -> Self {
                self.set(|options| options.routing.on = Some(node.into()));
                self
            }

            /// Lets only nodes with this tag run the call; may be given several times, at most 64.
            pub fn tag(mut self, tag: impl Into<String>) -> Self {
                self.set(|options| options.routing.tags.push(tag.into()));
                self
            }

            /// Lets a node with this tag run the call if one is there that has room, and any other
            /// if not; may be given several times, at most 64, and then asks for all of them.
            pub fn prefer_tag(mut self, tag: impl Into<String>) -> Self {
                self.set(|options| options.routing.preferred.push(tag.into()));
                self
            }

            /// Lets calls of one function with an equal key run on the same node, whoever makes
            /// them: for caches and sessions that live there.
            ///
            /// When a node comes or goes, only the keys that it gets or had move (consistent
            /// hashing: Karger and others, 1997). A node that has no room is passed over.
            pub fn sticky(mut self, key: impl AsRef<[u8]>) -> Self {
                let key = $crate::client::options::sticky(key.as_ref());
                self.set(|options| options.routing.sticky = Some(key));
                self
            }

            /// How the gateway chooses among the nodes that fit; [`LeastBusy`] unless set.
            ///
            /// [`LeastBusy`]: crate::Strategy::LeastBusy
            pub fn strategy(mut self, strategy: $crate::wire::routing_options::Strategy) -> Self {
                self.set(|options| options.routing.strategy = Some(strategy));
                self
            }

            /// How often the call is made again if it fails; see [`Retry`](crate::Retry), also for
            /// what holds unless it is set.
            pub fn retry(mut self, retry: $crate::client::retry::Retry) -> Self {
                self.set(|options| options.retry = Some(retry));
                self
            }

            /// Waits for a node if none can run the call now, until the deadline if there is one,
            /// instead of failing with [`ErrorKind::NoSuchFunction`](crate::ErrorKind),
            /// [`ErrorKind::NoNode`](crate::ErrorKind) or, where all nodes that are there have the
            /// function with other types, [`ErrorKind::SignatureMismatch`](crate::ErrorKind). It
            /// waits at all gateways of its client in turn.
            pub fn wait_for_node(mut self) -> Self {
                self.set(|options| options.routing.wait = true);
                self
            }

            /// Gives the function a word beside its arguments, which it finds with
            /// [`Context::metadata`](crate::Context::metadata). At most 64 of them, with keys of
            /// at most 128 bytes, and 8 KiB in all.
            pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.set(|options| options.metadata.push((key.into(), value.into())));
                self
            }
        }
    };
}
pub(super) use options;

options!(impl Options);
