//! The spans of calls, for [`tracing`] and what listens to it: names and attributes are those of
//! the guide, `docs/traces.md`.
//!
//! | span      | where, and how long                                     | parent                       |
//! |-----------|---------------------------------------------------------|------------------------------|
//! | `client`  | at the caller, from the first poll to the end           | the caller's current span    |
//! | `gateway` | from the header to the end at the node                  | that of the trace context    |
//! | `node`    | from the arguments to the answer; current in the function | that of the trace context  |
//! | `batch`   | a run of several calls; current in the function         | the `node` span of one call  |
//!
//! The attributes are those of the OpenTelemetry conventions for RPC, v1.45, and some of this crate.
//! A span that no subscriber wants costs a branch: its fields are not evaluated.
//!
//! Only the feature `otel` connects the spans of different processes ([`TraceContext`] in the call
//! header); without it a context is passed on unchanged.

#[cfg(feature = "otel")]
mod otel;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tracing::field::{Empty, Value, debug, display};
use tracing::span::Entered;
use tracing::{Span, info_span};

use crate::call::batch_meter::BatchReason;
use crate::call::function_meter::CallEnd;
use crate::error::{Error, ErrorKind, Executed};
use crate::wire::caller::Caller;
use crate::wire::header::CallHeader;
use crate::wire::trace_context::TraceContext;

/// Target of all spans, so that a filter can turn them off and leave the log on.
macro_rules! target {
    () => {
        "easyremote::trace"
    };
}

/// Value of `rpc.system.name`.
const SYSTEM: &str = "easyremote";

/// The span of one call at one party, or nothing. Small, because calls have it without a subscriber too.
#[derive(Clone, Debug)]
pub(crate) struct CallSpan(Option<Arc<Span>>);

impl CallSpan {
    /// Returns nothing.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    #[inline]
    fn new(span: Span) -> Self {
        Self((!span.is_disabled()).then(|| Arc::new(span)))
    }

    /// Begins the span of a call that is made in the current span. The call becomes a part of the
    /// trace of the span, if that has one.
    pub(crate) fn of_client(header: &mut CallHeader) -> Self {
        let span = info_span!(
            target: target!(),
            "client",
            otel.name = &*header.function,
            otel.kind = "client",
            otel.status_code = Empty,
            rpc.system.name = SYSTEM,
            rpc.method = &*header.function,
            server.address = Empty,
            server.port = Empty,
            error.type = Empty,
            easyremote.call_id = %CallNumber(header),
            easyremote.node = Empty,
            easyremote.executed = Empty,
            easyremote.attempt = Empty,
        );
        let span = Self::new(span);
        #[cfg(feature = "otel")]
        if let Some(span) = &span.0 {
            otel::lead(span, &mut header.trace_context);
        }
        span
    }

    /// Begins the span of a call at the gateway, as a child of the span that the caller names.
    pub(crate) fn of_gateway(header: &mut CallHeader) -> Self {
        let caller = header.caller.as_deref();
        let span = info_span!(
            target: target!(),
            parent: None,
            "gateway",
            otel.name = &*header.function,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = SYSTEM,
            rpc.method = &*header.function,
            client.address = caller.map(|caller| display(caller.address.ip())),
            client.port = caller.map(|caller| caller.address.port()),
            error.type = Empty,
            easyremote.call_id = %CallNumber(header),
            easyremote.attempt = header.attempt,
            easyremote.caller = caller.map(|caller| &*caller.identity),
            easyremote.caller_id = caller.map(|caller| &*caller.id),
            easyremote.node = Empty,
            easyremote.queued = Empty,
            easyremote.executed = Empty,
        );
        Self::new(span).in_trace_of(header)
    }

    /// Begins the span of a call at node `id`, as a child of the span that the gateway names. The
    /// function runs in it.
    pub(crate) fn of_node(header: &mut CallHeader, caller: &Caller, id: &str) -> Self {
        let span = info_span!(
            target: target!(),
            parent: None,
            "node",
            otel.name = &*header.function,
            otel.kind = "server",
            otel.status_code = Empty,
            rpc.system.name = SYSTEM,
            rpc.method = &*header.function,
            client.address = %caller.address.ip(),
            client.port = caller.address.port(),
            error.type = Empty,
            easyremote.call_id = %CallNumber(header),
            easyremote.attempt = header.attempt,
            easyremote.caller = &*caller.identity,
            easyremote.caller_id = &*caller.id,
            easyremote.node = id,
            easyremote.queued = Empty,
            easyremote.executed = Empty,
        );
        Self::new(span).in_trace_of(header)
    }

    /// Begins the span of a run of several `calls`, as a child of one of them and linked to the
    /// others. A call whose trace is recorded is preferred.
    pub(crate) fn of_batch(calls: &[(&Self, Option<&TraceContext>)], reason: BatchReason) -> Self {
        let is_sampled = |(_, context): &&(_, Option<&TraceContext>)| {
            context.is_some_and(TraceContext::is_sampled)
        };
        let Some((parent, _)) = calls.iter().find(is_sampled).or(calls.first()) else {
            return Self::none();
        };
        let Some(span) = parent.0.as_deref().filter(|_| calls.len() > 1) else {
            return Self::clone(parent);
        };
        let span = info_span!(
            target: target!(),
            parent: span,
            "batch",
            easyremote.batch.size = calls.len(),
            easyremote.batch.reason = ?reason,
        );
        let others = calls.iter().filter(|(other, _)| !std::ptr::eq(*other, *parent));
        for other in others.filter_map(|(other, _)| other.0.as_deref()) {
            span.follows_from(other);
        }
        Self::new(span)
    }

    /// Makes the span a child of the one that `header` names, and lets `header` name this one.
    fn in_trace_of(self, header: &mut CallHeader) -> Self {
        #[cfg(feature = "otel")]
        if let Some(span) = &self.0 {
            otel::follow(span, &mut header.trace_context);
        }
        let _ = header;
        self
    }

    /// Returns whether no subscriber wants the span.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Makes the span the current one until the guard is dropped.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        self.0.as_deref().map(Span::enter)
    }

    /// Returns the span, to run a future in it.
    pub(crate) fn to_span(&self) -> Span {
        self.0.as_deref().map_or_else(Span::none, Span::clone)
    }

    fn record(&self, field: &str, value: impl Value) {
        if let Some(span) = &self.0 {
            span.record(field, value);
        }
    }

    /// Notes where the client sends the call.
    pub(crate) fn note_server(&self, address: impl FnOnce() -> Option<SocketAddr>) {
        if !self.is_none()
            && let Some(address) = address()
        {
            self.record("server.address", display(address.ip()));
            self.record("server.port", address.port());
        }
    }

    /// Notes the number of the last attempt, unless it was the first.
    pub(crate) fn note_attempt(&self, attempt: u64) {
        if attempt > 0 {
            self.record("easyremote.attempt", attempt);
        }
    }

    /// Notes the node that the call goes to.
    pub(crate) fn note_node(&self, node: &str) {
        self.record("easyremote.node", node);
    }

    /// Notes how long the call has waited, in milliseconds.
    #[inline]
    pub(crate) fn note_queued(&self, queued: Duration) {
        if !self.is_none() {
            self.record("easyremote.queued", queued.as_secs_f64() * 1e3);
        }
    }

    /// Notes how the call has ended, and whether its function may have run, if that is known.
    #[inline]
    pub(crate) fn note_end(&self, end: CallEnd, executed: Option<Executed>) {
        if !self.is_none() {
            self.record_end(end, executed);
        }
    }

    fn record_end(&self, end: CallEnd, executed: Option<Executed>) {
        if let Some(executed) = executed {
            self.record("easyremote.executed", debug(executed));
        }
        let kind = match end {
            CallEnd::Returned => return,
            // The function's own error.
            CallEnd::Fault => ErrorKind::Failed,
            CallEnd::Error(kind) => kind,
        };
        self.record("error.type", debug(kind));
        // A caller that leaves is no failure of the call.
        if kind != ErrorKind::Cancelled {
            self.record("otel.status_code", "ERROR");
        }
    }

    /// Notes that the call has ended with `error`.
    pub(crate) fn note_error(&self, error: &Error) {
        if self.is_none() {
            return;
        }
        if let Some(node) = error.node() {
            self.note_node(node);
        }
        self.note_end(CallEnd::Error(error.kind()), Some(error.executed()));
    }
}

/// Displays the id of a call as its function sees it: 32 hexadecimal digits.
struct CallNumber<'a>(&'a CallHeader);

impl fmt::Display for CallNumber<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0.id))
    }
}
