//! The context of a call: caller, deadline, metadata and cancellation, for the running function.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::error::printable::one_line;
use crate::function::end::StreamTally;
use crate::function::states::States;
use crate::transport::connection::ManagedConnection;
use crate::wire::caller::{Caller, KnownCaller};
use crate::wire::header::CallHeader;
use crate::wire::job::sane_fraction;
use crate::wire::limits::MAX_PROGRESS;
use crate::wire::operators::Operator;
use crate::wire::trace_context::TraceContext;

/// The context of a call: a function takes it as a parameter `#[ctx] ctx: &Context`.
///
/// It has the caller, the deadline, the metadata and the cancellation of the call. Clones are cheap
/// and refer to the same call.
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
#[doc(alias = "request")]
#[doc(alias = "extractor")]
pub struct Context {
    inner: Arc<CallContext>,
    instance: Option<Arc<str>>,
}

#[derive(Debug)]
struct CallContext {
    node: Arc<str>,
    header: CallHeader,
    caller: KnownCaller,
    deadline: Option<Instant>,
    cancelled: Cancellation,
    states: Arc<States>,
    tally: StreamTally,
    /// What the function of a job has said last about its progress.
    progress: Mutex<Option<Box<ReportedProgress>>>,
    /// Whether the function runs on after the call has ended.
    detached: bool,
    /// The connection that the call arrived over.
    link: Arc<ManagedConnection>,
}

/// How far a function says that it is.
#[derive(Clone, Debug)]
pub(crate) struct ReportedProgress {
    pub(crate) fraction: f64,
    pub(crate) text: String,
    pub(crate) at: Instant,
}

/// The lifetime of a call, which nested calls inherit.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    pub(crate) deadline: Option<Instant>,
    /// Cancelled when the call ends, for any reason.
    pub(crate) cancelled: CancellationToken,
}

/// Whether a call has ended. Makes a token when the first one waits for it: most calls end before
/// anyone does.
#[derive(Debug, Default)]
struct Cancellation {
    cancelled: AtomicBool,
    token: Mutex<Option<CancellationToken>>,
}

impl Cancellation {
    fn cancel(&self) {
        let token = {
            let token = self.token.lock();
            // Under the lock: a token that is made later is made cancelled.
            self.cancelled.store(true, Ordering::Release);
            token.clone()
        };
        // Not under the lock: it wakes the user's code.
        if let Some(token) = token {
            token.cancel();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    fn token(&self) -> CancellationToken {
        let mut token = self.token.lock();
        let token = token.get_or_insert_default();
        if self.is_cancelled() {
            token.cancel();
        }
        token.clone()
    }
}

impl Context {
    pub(crate) fn new(
        node: Arc<str>,
        header: CallHeader,
        caller: KnownCaller,
        deadline: Option<Instant>,
        states: Arc<States>,
        detached: bool,
        link: Arc<ManagedConnection>,
    ) -> Self {
        let inner = CallContext {
            node,
            header,
            caller,
            deadline,
            cancelled: Cancellation::default(),
            states,
            tally: StreamTally::default(),
            progress: Mutex::default(),
            detached,
            link,
        };
        Self { inner: Arc::new(inner), instance: None }
    }

    pub(crate) fn states(&self) -> &States {
        &self.inner.states
    }

    /// Counts what the call has sent, if it is a stream.
    pub(crate) fn known_caller(&self) -> &KnownCaller {
        &self.inner.caller
    }

    pub(crate) fn tally(&self) -> &StreamTally {
        &self.inner.tally
    }

    /// Returns the caller's deduplication key.
    pub(crate) fn key(&self) -> Option<&str> {
        self.inner.header.key.as_deref()
    }

    /// Returns the number of bytes of the metadata.
    pub(crate) fn metadata_length(&self) -> usize {
        let lengths = self.inner.header.metadata.iter().map(|(key, value)| key.len() + value.len());
        lengths.sum()
    }

    /// Returns the context of a run that several callers share: that of the first one, without its
    /// deadline and its end.
    pub(crate) fn without_deadline(&self) -> Self {
        let CallContext { node, header, caller, states, detached, link, .. } = &*self.inner;
        let header = CallHeader { timeout: None, traced: false, ..header.clone() };
        let (node, caller, states) = (node.clone(), caller.clone(), states.clone());
        let shared = Self::new(node, header, caller, None, states, *detached, link.clone());
        shared.at_instance(self.instance.clone())
    }

    /// Returns what the function has said last about its progress.
    pub(crate) fn last_progress(&self) -> Option<ReportedProgress> {
        self.inner.progress.lock().as_deref().cloned()
    }

    pub(crate) fn link(&self) -> &Arc<ManagedConnection> {
        &self.inner.link
    }

    /// Returns the scope that the function's own calls inherit; `None` for a detached function.
    pub(crate) fn scope(&self) -> Option<Scope> {
        let CallContext { deadline, cancelled, detached, .. } = &*self.inner;
        (!detached).then(|| Scope { deadline: *deadline, cancelled: cancelled.token() })
    }

    /// Tells the function that the call has ended, unless it is detached.
    pub(crate) fn cancel(&self) {
        if !self.inner.detached {
            self.inner.cancelled.cancel();
        }
    }

    /// Returns whether the caller wants a trace.
    pub(crate) fn is_traced(&self) -> bool {
        self.inner.header.traced
    }

    /// Returns the maximum number of items that the caller wants of a stream, from the next one on.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.inner.header.limit.map(|items| items.saturating_sub(self.taken_before()))
    }

    /// Returns the number of items that the function has returned on nodes that were lost, up to the
    /// one behind the last that the reader has taken.
    pub(crate) fn done_before(&self) -> u64 {
        self.inner.header.resume.as_ref().map_or(0, |request| request.done)
    }

    /// Returns the number of items that the reader of a resumable stream has taken from nodes that
    /// were lost.
    pub(crate) fn taken_before(&self) -> u64 {
        self.inner.header.resume.as_ref().map_or(0, |request| request.taken)
    }

    /// Returns whether the call is that of a resumable stream.
    pub(crate) fn is_resumable(&self) -> bool {
        self.inner.header.resume.is_some()
    }

    /// Returns what happens to the items of a stream before they are sent.
    pub(crate) fn operators(&self) -> &[Operator] {
        &self.inner.header.operators
    }

    /// Sets the instance that a method is called on.
    pub(crate) fn at_instance(mut self, instance: Option<Arc<str>>) -> Self {
        self.instance = instance;
        self
    }

    /// Returns the id of the node that the function runs on.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn whoami(#[ctx] ctx: &Context) -> String {
    ///     format!("{} on {}", ctx.function(), ctx.node())
    /// }
    /// ```
    #[must_use]
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// Returns the function's name on the wire, such as `add` or `Model.embed`.
    ///
    /// ```
    /// use easyremote::node::{Done, Next};
    /// use easyremote::{Context, Error};
    ///
    /// async fn log(ctx: Context, next: Next) -> Result<Done, Error> {
    ///     println!("call of {}", ctx.function());
    ///     next.run(ctx).await
    /// }
    /// # let _ = easyremote::Node::builder("127.0.0.1:8080").wrap(log);
    /// ```
    #[must_use]
    #[doc(alias = "name")]
    #[doc(alias = "method")]
    pub fn function(&self) -> &str {
        &self.inner.header.function
    }

    /// Returns the name of the [instance](crate::node::NodeBuilder::instance) that the caller has
    /// selected; `None` in a free function, and in a method that is called on the node's state.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// struct Model;
    ///
    /// #[remote]
    /// impl Model {
    ///     fn about(&self, #[ctx] ctx: &Context) -> String {
    ///         format!("instance {}", ctx.instance().unwrap_or("(default)"))
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.instance.as_deref()
    }

    /// Returns the node's [state](crate::node::NodeBuilder::state) of type `T`; `None` if the node
    /// has no such state.
    ///
    /// Meant for [middleware](crate::node::NodeBuilder::wrap). A function should take
    /// `#[state] value: &T` instead, which is checked when the node starts.
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
    #[doc(alias = "extension")]
    #[doc(alias = "dependency injection")]
    pub fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.states().get()
    }

    /// Reports a gauge of the node, such as free memory of a device: see
    /// [`Node::report`](crate::Node::report). It is the node's, and not the call's: the last value
    /// that any function or the program has reported counts.
    ///
    /// ```
    /// use easyremote::{Context, Error, remote};
    /// # fn vram_free() -> f64 { 12.5 }
    ///
    /// #[remote(err = "display")]
    /// fn infer(#[ctx] ctx: &Context, prompt: String) -> Result<String, Error> {
    ///     ctx.report("vram_free", vram_free())?;
    ///     Ok(prompt)
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`Node::report`](crate::Node::report).
    #[doc(alias = "gauge")]
    #[doc(alias = "metrics")]
    pub fn report(&self, gauge: &str, value: f64) -> Result<(), Error> {
        self.states().gauges.set(gauge, value)
    }

    /// Returns the id of the call: the same wherever it is logged, and never used again.
    ///
    /// All [attempts](Self::attempt) of a call have the same id.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn add(#[ctx] ctx: &Context, a: i64, b: i64) -> i64 {
    ///     println!("call {:032x}", ctx.call_id());
    ///     a + b
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "request_id")]
    #[doc(alias = "correlation_id")]
    pub fn call_id(&self) -> u128 {
        u128::from_be_bytes(self.inner.header.id)
    }

    /// Returns the key of the call in the dedup cache: its id combined with its caller, so that the
    /// calls of two callers never share a key.
    pub(crate) fn mark(&self) -> u128 {
        self.call_id() ^ self.inner.caller.mark()
    }

    /// Returns who makes the call: role, id, identity and address, as the gateway knows them.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn hello(#[ctx] ctx: &Context) -> String {
    ///     format!("hello {}", ctx.caller().identity)
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "peer")]
    #[doc(alias = "user")]
    #[doc(alias = "principal")]
    pub fn caller(&self) -> &Caller {
        &self.inner.caller
    }

    /// Returns the number of earlier attempts of the call: 0 for the first attempt. See
    /// [`Retry`](crate::Retry). All attempts have the same [`call_id`](Self::call_id).
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote(idempotent)]
    /// fn lookup(#[ctx] ctx: &Context, key: String) -> usize {
    ///     if ctx.attempt() > 0 {
    ///         println!("call {:032x} is retried", ctx.call_id());
    ///     }
    ///     key.len()
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "retry")]
    pub fn attempt(&self) -> u64 {
        self.inner.header.attempt
    }

    /// Returns the deadline of the call, if it has one. The node cancels the call then, unless the
    /// function is `detached`.
    ///
    /// Calls that the function makes have the same deadline, unless they set an earlier one.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    ///
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn improve(#[ctx] ctx: &Context, mut x: f64) -> f64 {
    ///     let end = ctx.deadline().unwrap_or_else(|| Instant::now() + Duration::from_secs(1));
    ///     while Instant::now() + Duration::from_millis(10) < end {
    ///         x = (x + 2.0 / x) / 2.0;
    ///     }
    ///     x
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "timeout")]
    pub fn deadline(&self) -> Option<Instant> {
        self.inner.deadline
    }

    /// Returns the time left until the deadline, if the call has one; zero after it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn search(#[ctx] ctx: &Context, query: String) -> usize {
    ///     let hurried = ctx.remaining().is_some_and(|left| left < Duration::from_millis(50));
    ///     if hurried { query.len() } else { query.trim().len() }
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "timeout")]
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline().map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Returns the value that the caller set as [`metadata`](crate::Call::metadata) for `key`; the
    /// last one, if there are several.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn greet(#[ctx] ctx: &Context, name: String) -> String {
    ///     match ctx.metadata("language") {
    ///         Some("no") => format!("hei {name}"),
    ///         _ => format!("hello {name}"),
    ///     }
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "header")]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let mut all = self.inner.header.metadata.iter().rev();
        all.find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Returns where the call belongs in a distributed trace; `None` if its caller has not said so.
    ///
    /// For requests of other protocols that the function makes: `Display` writes the value of the
    /// header `traceparent`. Calls that the function makes with [`client`](Self::client) have the
    /// same context by themselves.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn headers(#[ctx] ctx: &Context) -> Vec<(String, String)> {
    ///     let context = ctx.trace_context();
    ///     context.map(|it| ("traceparent".to_owned(), it.to_string())).into_iter().collect()
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "traceparent")]
    #[doc(alias = "OpenTelemetry")]
    pub fn trace_context(&self) -> Option<&TraceContext> {
        self.inner.header.trace_context.as_deref()
    }

    /// Says how far the function is, for those who ask for the [status](crate::client::Job::status)
    /// of the job.
    ///
    /// `fraction` is the part that is done, from 0 to 1; a value outside of this range is moved to
    /// its end. `text` is one line; it is cut at 1 KiB. The last call counts. It takes a lock for a
    /// moment, so sync and async functions may call it as often as they like. In a call that is not
    /// a [job](crate::Call::spawn) it does nothing.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn train(#[ctx] ctx: &Context, epochs: u32) -> f64 {
    ///     let mut loss = 1.0;
    ///     for epoch in 0..epochs {
    ///         loss *= 0.9;
    ///         ctx.progress(f64::from(epoch + 1) / f64::from(epochs), format!("loss {loss:.3}"));
    ///     }
    ///     loss
    /// }
    /// ```
    #[doc(alias = "report")]
    #[doc(alias = "percent")]
    pub fn progress(&self, fraction: f64, text: impl AsRef<str>) {
        if !self.inner.header.is_spawn() {
            return;
        }
        let text = one_line(text.as_ref(), MAX_PROGRESS).into_owned();
        let (fraction, at) = (sane_fraction(fraction), Instant::now());
        *self.inner.progress.lock() = Some(Box::new(ReportedProgress { fraction, text, at }));
    }

    /// Returns whether the call has been cancelled: its caller has dropped it, its deadline has
    /// passed, or the connection is lost. Always `false` in a `detached` function.
    ///
    /// Sync functions should poll it, because they cannot be stopped from outside. Async functions
    /// are dropped when their call is cancelled.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// fn count_primes(#[ctx] ctx: &Context, limit: u64) -> usize {
    ///     let is_prime = |n: &u64| (2..*n).all(|d| n % d != 0);
    ///     (2..limit).take_while(|_| !ctx.is_cancelled()).filter(is_prime).count()
    /// }
    /// ```
    #[must_use]
    #[doc(alias = "cancel token")]
    #[doc(alias = "CancellationToken")]
    #[doc(alias = "abort")]
    pub fn is_cancelled(&self) -> bool {
        self.inner.cancelled.is_cancelled()
    }

    /// Resolves when the call ends: cancelled as for [`is_cancelled`](Self::is_cancelled), or
    /// because the function has returned. Never resolves in a `detached` function.
    ///
    /// Meant for tasks that the function has spawned; the function itself is dropped when its call
    /// is cancelled.
    ///
    /// ```
    /// use easyremote::{Context, remote};
    ///
    /// #[remote]
    /// async fn render(#[ctx] ctx: &Context, frames: u32) -> u32 {
    ///     let call = ctx.clone();
    ///     tokio::spawn(async move {
    ///         call.cancelled().await;
    ///         println!("stop the encoder");
    ///     });
    ///     frames
    /// }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and nothing else.
    #[doc(alias = "cancel token")]
    #[doc(alias = "CancellationToken")]
    #[doc(alias = "abort")]
    pub async fn cancelled(&self) {
        self.inner.cancelled.token().cancelled_owned().await;
    }
}
