//! Spans of calls in OpenTelemetry's traces, by way of `tracing-opentelemetry`: the feature `otel`.
//!
//! The [`TraceContext`] of a call header becomes the parent of a span, and the span becomes the
//! context of the header. Without the layer of `tracing-opentelemetry` both stay as they are. Which
//! traces are recorded, and where they go, is up to the program.

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::wire::trace_context::TraceContext;

/// Makes `span` a child of the span that `context` names, and lets `context` name it.
pub(super) fn follow(span: &Span, context: &mut Option<Box<TraceContext>>) {
    if let Some(parent) = context {
        set_parent(span, parent);
    }
    name(span, context);
}

/// Does the same for the span of a client, whose parent is the caller's current span, unless
/// `context` is of another trace.
///
/// A context of the same trace is that of the enclosing function, and the current span is a part of
/// it.
pub(super) fn lead(span: &Span, context: &mut Option<Box<TraceContext>>) {
    if let Some(set) = context
        && current_trace() != set.trace_id()
    {
        set_parent(span, set);
    }
    name(span, context);
}

/// Returns the id of the trace of the current span; 0 if there is none.
fn current_trace() -> u128 {
    let id = |context: &Context| u128::from_be_bytes(trace_of(context).trace_id().to_bytes());
    match id(&Span::current().context()) {
        // Its span may be one that `tracing` does not know.
        0 => Context::map_current(id),
        id => id,
    }
}

fn trace_of(context: &Context) -> SpanContext {
    context.span().span_context().clone()
}

fn set_parent(span: &Span, parent: &TraceContext) {
    let parent = SpanContext::new(
        TraceId::from_bytes(parent.trace_id().to_be_bytes()),
        SpanId::from_bytes(parent.parent_id().to_be_bytes()),
        TraceFlags::new(parent.flags()),
        true,
        parent.tracestate().parse::<TraceState>().unwrap_or_default(),
    );
    // Fails without the layer of `tracing-opentelemetry`: then there is no trace to join.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// Lets `context` name `span`, if that is a part of a trace.
fn name(span: &Span, context: &mut Option<Box<TraceContext>>) {
    let own = trace_of(&span.context());
    let (trace_id, span_id) = (own.trace_id().to_bytes(), own.span_id().to_bytes());
    let (trace_id, span_id) = (u128::from_be_bytes(trace_id), u64::from_be_bytes(span_id));
    if let Some(named) = TraceContext::valid(trace_id, span_id, own.trace_flags().to_u8()) {
        *context = Some(Box::new(named.with_tracestate(&own.trace_state().header())));
    }
}
