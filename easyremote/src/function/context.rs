//! What a running function can learn about its call, and what the node keeps for it.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

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
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: String,
    header: CallHeader,
    deadline: Option<Instant>,
    cancelled: CancellationToken,
}

impl Context {
    pub(crate) fn new(
        node: &str,
        header: CallHeader,
        deadline: Option<Instant>,
        cancelled: CancellationToken,
    ) -> Self {
        let node = node.to_owned();
        Self { inner: Arc::new(Inner { node, header, deadline, cancelled }) }
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

    /// Identifies the call: the same wherever it is logged, and never used again.
    #[must_use]
    pub fn call_id(&self) -> u128 {
        u128::from_be_bytes(self.inner.header.id)
    }

    /// When the call's time is over, if it has a deadline. The node cancels it then, unless the
    /// function is `detached`.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
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
        self.inner.cancelled.is_cancelled()
    }

    /// Resolves when nobody waits for the result any more; for what the function has started
    /// elsewhere. In a function that is `detached` it never does. Cancel safe.
    pub async fn cancelled(&self) {
        self.inner.cancelled.cancelled().await;
    }
}

/// A type that may be the state of remote functions.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the state of a #[remote] function",
    label = "not `Send + Sync + 'static`",
    note = "calls share it between threads: put what changes into a `Mutex`"
)]
pub trait State: Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Send + Sync + 'static> State for T {}

/// The values that a node keeps for its functions, one of each type.
#[derive(Default)]
pub(crate) struct States {
    values: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
}

impl States {
    /// Keeps `value`, in place of one of the same type.
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.values.insert(TypeId::of::<T>(), Box::new(value));
    }

    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.values.get(&TypeId::of::<T>())?.downcast_ref()
    }

    pub(crate) fn has(&self, wanted: &StateType) -> bool {
        self.values.contains_key(&wanted.id)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.values.len())
    }
}

/// A type of which a function needs a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StateType {
    id: TypeId,
    pub(crate) name: &'static str,
}

impl StateType {
    pub(crate) fn of<T: 'static>() -> Self {
        Self { id: TypeId::of::<T>(), name: type_name::<T>() }
    }
}
