//! What a running function can learn about its call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::function::end::StreamTally;
use crate::function::states::States;
use crate::transport::connection::ManagedConnection;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::header::CallHeader;

/// What a function can learn about its call: `#[ctx] ctx: &Context` among its parameters.
///
/// ```
/// use easyremote::{Context, remote};
///
/// #[remote]
/// fn search(#[ctx] ctx: &Context, from: u64, to: u64) -> Option<u64> {
///     (from..to).take_while(|_| !ctx.is_cancelled()).find(|n| n % 4_711 == 42)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Context {
    inner: Arc<CallContext>,
    instance: Option<Arc<str>>,
}

#[derive(Debug)]
struct CallContext {
    node: Arc<str>,
    header: CallHeader,
    caller: KnownCaller,
    scope: Scope,
    states: Arc<States>,
    tally: StreamTally,
    /// The function runs on when the call is over.
    detached: bool,
    /// The connection that the call came over.
    link: Arc<ManagedConnection>,
}

/// How long a call lasts.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) deadline: Option<Instant>,
    /// Cancelled when the call is over, however it ends.
    pub(crate) cancelled: CancellationToken,
}

impl Context {
    pub(crate) fn new(
        node: Arc<str>,
        header: CallHeader,
        caller: KnownCaller,
        scope: Scope,
        states: Arc<States>,
        detached: bool,
        link: Arc<ManagedConnection>,
    ) -> Self {
        let tally = StreamTally::default();
        let inner = CallContext { node, header, caller, scope, states, tally, detached, link };
        Self { inner: Arc::new(inner), instance: None }
    }

    pub(crate) fn states(&self) -> &States {
        &self.inner.states
    }

    /// What the call has sent, if it is a stream.
    pub(crate) fn tally(&self) -> &StreamTally {
        &self.inner.tally
    }

    pub(crate) fn link(&self) -> &Arc<ManagedConnection> {
        &self.inner.link
    }

    /// How long the calls last that the function makes itself, if that is limited.
    pub(crate) fn scope(&self) -> Option<Scope> {
        (!self.inner.detached).then(|| self.inner.scope.clone())
    }

    /// Most items that the caller wants of a stream.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.inner.header.limit
    }

    /// The context of a call on one of several instances.
    pub(crate) fn at_instance(mut self, instance: Option<Arc<str>>) -> Self {
        self.instance = instance;
        self
    }

    /// The id of the node that the function runs on.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// The function's name on the wire.
    #[must_use]
    pub fn function(&self) -> &str {
        &self.inner.header.function
    }

    /// The name of the [instance](crate::node::NodeBuilder::instance) that the caller has named, in a
    /// method that is called on one.
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// The [state](crate::node::NodeBuilder::state) of type `T` that the node keeps, if there is one.
    ///
    /// For [middleware](crate::node::NodeBuilder::wrap). A function takes `#[state] value: &T`, which
    /// is checked when the node starts.
    ///
    /// ```
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use easyremote::node::{Done, Next};
    /// use easyremote::{Context, Error};
    ///
    /// async fn count(ctx: Context, next: Next) -> Result<Done, Error> {
    ///     if let Some(calls) = ctx.state::<AtomicU64>() {
    ///         calls.fetch_add(1, Ordering::Relaxed);
    ///     }
    ///     next.run(ctx).await
    /// }
    /// ```
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.states().get()
    }

    /// Identifies the call: the same wherever it is logged, and never used again.
    #[must_use]
    pub fn call_id(&self) -> u128 {
        u128::from_be_bytes(self.inner.header.id)
    }

    /// What nobody's call has but the same caller's, if it has the same id.
    pub(crate) fn mark(&self) -> u128 {
        self.call_id() ^ self.inner.caller.mark()
    }

    /// Who makes the call.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// How often the call was sent before, if it is made again: 0 for the first attempt; see
    /// [`Retry`](crate::Retry). All attempts have the same [`call_id`](Self::call_id).
    #[must_use]
    pub fn attempt(&self) -> u64 {
        self.inner.header.attempt
    }

    /// When the call's time is over, if it has a deadline. The node cancels it then, unless the
    /// function is `detached`.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.scope.deadline
    }

    /// How much time is left until the deadline, if there is one.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// What the caller gave as [`metadata`](crate::Call::metadata) under `key`; the last, if
    /// there are several.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut all = self.inner.header.metadata.iter().rev();
        all.find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Whether nobody waits for the result any more: the caller has dropped the call, its deadline
    /// has passed, or the connection is gone. Always `false` in a function that is `detached`.
    ///
    /// For sync functions, which cannot be stopped from outside.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.inner.scope.cancelled.is_cancelled()
    }

    /// Resolves when nobody waits for the result any more; for what the function has started
    /// elsewhere. In a function that is `detached` it never does. Cancel safe.
    pub async fn cancelled(&self) {
        self.inner.scope.cancelled.cancelled().await;
    }
}
