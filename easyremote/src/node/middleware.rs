//! Middleware: layers that a node runs around each of its functions.

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

/// Starts the function of a call; the future resolves when the call has ended.
pub(super) type Launch = Box<dyn FnOnce() -> BoxFuture<'static, Result<Done, Error>> + Send>;

/// The layers of a node, the outermost first.
#[derive(Clone, Default)]
pub(super) struct Layers(Arc<[Layer]>);

/// The rest of the chain behind a [middleware](crate::node::NodeBuilder::wrap): the inner
/// middlewares and the function.
///
/// Dropping it without [`run`](Self::run) means that the function does not run.
///
/// ```
/// use easyremote::node::{Done, Next};
/// use easyremote::{Context, Error};
///
/// async fn log(ctx: Context, next: Next) -> Result<Done, Error> {
///     println!("{} called by {}", ctx.function(), ctx.caller().id);
///     next.run(ctx).await
/// }
/// # let _ = easyremote::Node::builder("127.0.0.1:8080").wrap(log);
/// ```
#[must_use = "the function runs only if `run` is called"]
#[doc(alias = "middleware")]
#[doc(alias = "layer")]
pub struct Next {
    layers: Layers,
    /// Number of layers that have run.
    depth: usize,
    launch: Launch,
}

/// How a call ended, as its node sees it: from [`Next::run`].
///
/// It has no values: middleware sees how many items and bytes a function returned, not which.
///
/// ```
/// use easyremote::node::{Done, Next};
/// use easyremote::{Context, Error};
///
/// async fn log(ctx: Context, next: Next) -> Result<Done, Error> {
///     let function = ctx.function().to_owned();
///     let done = next.run(ctx).await?;
///     println!("{function}: {:?}, {} items, {} bytes", done.end(), done.items(), done.bytes());
///     Ok(done)
/// }
/// # let _ = easyremote::Node::builder("127.0.0.1:8080").wrap(log);
/// ```
#[derive(Debug)]
#[doc(alias = "response")]
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
    /// Runs the inner middlewares and the function.
    ///
    /// Resolves when the call has ended, with the function's answer or with the last item of its
    /// stream. The answer has been passed on to the caller by then.
    ///
    /// ```
    /// use easyremote::node::{Done, Next};
    /// use easyremote::{Context, Error, ErrorKind};
    ///
    /// async fn only_clients(ctx: Context, next: Next) -> Result<Done, Error> {
    ///     if ctx.caller().role != easyremote::Role::Client {
    ///         return Err(Error::new(ErrorKind::PermissionDenied, "for clients only"));
    ///     }
    ///     next.run(ctx).await
    /// }
    /// # let _ = easyremote::Node::builder("127.0.0.1:8080").wrap(only_clients);
    /// ```
    ///
    /// # Errors
    /// The error of an inner middleware that did not run the function. Return it.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the function, as if its caller had left, and fails the call with
    /// [`Cancelled`](crate::ErrorKind::Cancelled).
    #[doc(alias = "call")]
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
    /// Returns how the call ended.
    ///
    /// ```
    /// use easyremote::node::{Done, End};
    ///
    /// fn status(done: &Done) -> String {
    ///     match done.end() {
    ///         End::Returned => "ok".to_owned(),
    ///         End::Fault => "the function returned an error".to_owned(),
    ///         End::Error(error) => format!("{:?}", error.kind()),
    ///         _ => "unknown".to_owned(),
    ///     }
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "status")]
    pub fn end(&self) -> &End {
        &self.end
    }

    /// Returns whether the function returned a value, or its stream ended without an error.
    ///
    /// ```
    /// # use std::sync::atomic::{AtomicU64, Ordering};
    /// use easyremote::node::Done;
    ///
    /// fn count(done: &Done, failures: &AtomicU64) {
    ///     if !done.is_ok() {
    ///         failures.fetch_add(1, Ordering::Relaxed);
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn is_ok(&self) -> bool {
        matches!(self.end, End::Returned)
    }

    /// Returns the error that the call ended with; `None` if it succeeded, or if the function
    /// returned its own error.
    ///
    /// ```
    /// use easyremote::ErrorKind;
    /// use easyremote::node::Done;
    ///
    /// fn has_panicked(done: &Done) -> bool {
    ///     done.error().is_some_and(|error| error.kind() == ErrorKind::Panicked)
    /// }
    /// ```
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        match &self.end {
            End::Error(error) => Some(error),
            End::Returned | End::Fault => None,
        }
    }

    /// Returns the number of items that the stream produced, including the function's own errors in
    /// place of items. 0 for a function that returns one value.
    ///
    /// ```
    /// # fn log(done: &easyremote::node::Done) {
    /// println!("{} items", done.items());
    /// # }
    /// ```
    #[must_use]
    pub fn items(&self) -> u64 {
        self.items
    }

    /// Returns the encoded length, in bytes, of the value or of all items.
    ///
    /// ```
    /// # fn log(done: &easyremote::node::Done) {
    /// println!("{} KiB", done.bytes() / 1024);
    /// # }
    /// ```
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
