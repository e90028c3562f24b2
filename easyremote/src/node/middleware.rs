//! Middleware: what a node runs around each of its functions.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::Error;
use crate::function::context::Context;
use crate::function::end::End;

/// One layer of middleware, with its types erased.
type Layer = Arc<dyn Fn(Context, Next) -> BoxFuture<'static, Result<Done, Error>> + Send + Sync>;

/// What starts the function of a call; it resolves when the call has ended.
pub(super) type Launch = Box<dyn FnOnce() -> BoxFuture<'static, Result<Done, Error>> + Send>;

/// The layers of a node, the outermost first.
#[derive(Clone, Default)]
pub(super) struct Layers(Arc<[Layer]>);

/// What a [middleware](crate::node::NodeBuilder::wrap) is wrapped around: the inner ones, and the
/// function.
#[must_use = "the function runs only if `run` is called"]
pub struct Next {
    layers: Layers,
    /// How many of them have run.
    depth: usize,
    launch: Launch,
}

/// How a call ended, as its node sees it: from [`Next::run`].
#[derive(Debug)]
pub struct Done {
    pub(super) end: End,
    pub(super) items: u64,
    pub(super) bytes: u64,
}

impl Layers {
    /// Adds the innermost layer.
    pub(super) fn push<F, Fut>(&mut self, layer: F)
    where
        F: Fn(Context, Next) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Done, Error>> + Send + 'static,
    {
        let layer: Layer = Arc::new(move |context, next| layer(context, next).boxed());
        self.0 = self.0.iter().cloned().chain([layer]).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs all layers around `launch`.
    pub(super) async fn run(self, context: Context, launch: Launch) -> Result<Done, Error> {
        Next { layers: self, depth: 0, launch }.run(context).await
    }
}

impl Next {
    /// Runs the inner middlewares and the function. Resolves when the call has ended: with the
    /// answer of the function, or with the last item of its stream. The caller has the answer by
    /// then.
    ///
    /// # Errors
    /// That of an inner middleware which has not run the function. Pass it on.
    ///
    /// # Cancel safety
    /// Dropping the future stops the function as a caller that leaves does, and fails the call with
    /// [`Cancelled`](crate::ErrorKind::Cancelled).
    pub async fn run(self, context: Context) -> Result<Done, Error> {
        let Self { layers, depth, launch } = self;
        let layer = layers.0.get(depth).cloned();
        match layer {
            Some(layer) => layer(context, Self { layers, depth: depth + 1, launch }).await,
            None => launch().await,
        }
    }
}

impl Done {
    /// How the function ended.
    #[must_use]
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Returns whether the function returned a value, or its stream ended.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.end, End::Returned)
    }

    /// The error that the call ended with, unless it is the function's own.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.end {
            End::Error(error) => Some(error),
            End::Returned | End::Fault => None,
        }
    }

    /// Items that a stream has had, those included that are errors of the function. 0 for a function
    /// that returns one value.
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Encoded bytes of the value, or of all items.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layers({})", self.0.len())
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next").finish_non_exhaustive()
    }
}
