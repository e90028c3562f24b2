//! The permit of a call to run at a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use crate::call::function_meter::{CallEnd, FunctionMeter};
use crate::error::{ErrorKind, Executed};
use crate::gateway::routing::balancer::Chosen;
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::router::Router;
use crate::gateway::routing::table::Route;
use crate::transport::call_span::CallSpan;

/// The permit of a call to run at a node. Dropping it frees the slot, and passes it to a waiting
/// call if one matches. A request about jobs takes no slot.
///
/// The outcome is recorded at most once, by [`succeeded`](Self::succeeded) or
/// [`failed`](Self::failed). Neither is invoked if the outcome says nothing about the node: the
/// call was cancelled, its deadline passed, or its caller made a mistake.
#[derive(Debug)]
pub(crate) struct CallPermit<H: NodeHandle> {
    router: Arc<Router<H>>,
    route: Route<H>,
    is_probe: bool,
    is_request: bool,
    acquired: Duration,
    /// How long ago the call was sent to another node, which was lost; zero for most.
    earlier: Duration,
    /// Bits [`ANSWERED`], [`RECORDED`] and [`UNCOUNTED`].
    recorded: AtomicU8,
    /// How the call ends, as [`CallEnd::index`]; or [`NOT_ENTERED`] or [`GOES_ON`].
    end: AtomicU8,
    /// Time to the beginning of the answer, in nanoseconds; 0 before it.
    took: AtomicU64,
    span: CallSpan,
}

/// The call is not counted at its function.
const NOT_ENTERED: u8 = u8::MAX;
/// The call goes on at another node.
const GOES_ON: u8 = u8::MAX - 1;

/// The latency has been recorded.
const ANSWERED: u8 = 1;
/// The outcome has been recorded.
const RECORDED: u8 = 2;
/// The slot is not counted: the call continues a stream, and its node has not confirmed it.
const UNCOUNTED: u8 = 4;

impl<H: NodeHandle> CallPermit<H> {
    pub(crate) fn new(router: Arc<Router<H>>, chosen: Chosen<H>) -> Self {
        let (acquired, Chosen { route, is_probe, is_request }) = (router.clock().now(), chosen);
        // What is said about a job is no outcome of a call.
        let recorded = AtomicU8::new(if is_request { ANSWERED | RECORDED } else { 0 });
        let (end, took) = (AtomicU8::new(NOT_ENTERED), AtomicU64::new(0));
        let (earlier, span) = (Duration::ZERO, CallSpan::none());
        Self { router, route, is_probe, is_request, acquired, earlier, recorded, end, took, span }
    }

    /// Creates the permit of a call that continues a stream at `route`, which is counted once it is
    /// [confirmed](Self::confirm). Its latency says nothing about the node.
    pub(super) fn uncounted(router: Arc<Router<H>>, route: Route<H>) -> Self {
        let permit = Self::new(router, Chosen { route, is_probe: false, is_request: false });
        permit.recorded.store(ANSWERED | UNCOUNTED, Ordering::Relaxed);
        permit
    }

    /// Returns whether the slot is counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.recorded.load(Ordering::Relaxed) & UNCOUNTED == 0
    }

    /// Counts the slot of a call that continues a stream, also beyond the node's capacity: the
    /// stream holds its permits there.
    pub(crate) fn confirm(&self) {
        if self.recorded.fetch_and(!UNCOUNTED, Ordering::Relaxed) & UNCOUNTED != 0 {
            self.route.node.end_continuing();
            self.route.node.count(self.index());
        }
    }

    pub(crate) fn node(&self) -> &RoutedNode<H> {
        &self.route.node
    }

    /// Returns the node, for users that outlive the permit.
    pub(crate) fn shared_node(&self) -> Arc<RoutedNode<H>> {
        self.route.node.clone()
    }

    /// Records that the node has started to answer with something other than an error. The time
    /// until then is the latency of a stream, whose items may arrive for days.
    pub(crate) fn answered(&self) {
        if self.recorded.fetch_or(ANSWERED, Ordering::Relaxed) & ANSWERED == 0 {
            let now = self.router.clock().now();
            let (offered, took) = (self.route.offered(), now.saturating_sub(self.acquired));
            self.took.store(took.as_nanos() as u64, Ordering::Relaxed);
            offered.latency.record(took, now);
            offered.pace.record(took);
        }
    }

    /// Records that the function has returned a value.
    pub(crate) fn succeeded(&self) {
        self.answered();
        if self.recorded.fetch_or(RECORDED, Ordering::Relaxed) & RECORDED == 0 {
            self.router.record_success(&self.route.node, self.index(), self.is_probe);
        }
    }

    /// Records that the function or the node has failed.
    pub(crate) fn failed(&self) {
        if self.recorded.fetch_or(RECORDED, Ordering::Relaxed) & RECORDED == 0 {
            self.router.record_failure(&self.route.node, self.index(), self.is_probe);
        }
    }

    /// Counts the call at its function until the permit is dropped. It has waited for `queued`.
    pub(crate) fn enter(&self, queued: Duration) {
        if !self.is_request {
            self.meter().entered(queued);
            // Unless something else is said: the caller leaves.
            self.ends(CallEnd::Error(ErrorKind::Cancelled));
        }
    }

    /// [`enter`](Self::enter) for a call that was sent to another node before, `earlier` ago, and
    /// [goes on](Self::goes_on) at this one.
    pub(crate) fn enter_again(&mut self, earlier: Duration) {
        if !self.is_request {
            self.earlier = earlier;
            self.meter().entered_again();
            self.ends(CallEnd::Error(ErrorKind::Cancelled));
        }
    }

    /// Returns the time since the permit was acquired.
    pub(crate) fn age(&self) -> Duration {
        self.router.clock().now().saturating_sub(self.acquired)
    }

    /// Notes the span of the call, which learns its end.
    pub(crate) fn note_span(&mut self, span: &CallSpan) {
        self.span = span.clone();
    }

    /// Notes how the call ends.
    pub(crate) fn ends(&self, end: CallEnd) {
        self.set_end(end.index());
    }

    /// Notes that the call goes on at another node.
    pub(crate) fn goes_on(&self) {
        self.set_end(GOES_ON);
    }

    fn set_end(&self, end: u8) {
        if !self.is_request {
            self.end.store(end, Ordering::Relaxed);
        }
    }

    /// Returns the meter of the function.
    pub(crate) fn meter(&self) -> &Arc<FunctionMeter> {
        &self.route.offered().meter
    }

    /// Counts the end of the call at its function.
    fn count_end(&self) {
        let (offered, end) = (self.route.offered(), self.end.load(Ordering::Relaxed));
        if end == NOT_ENTERED {
            return;
        }
        if end == GOES_ON {
            return offered.meter.left_to_go_on();
        }
        let ran = match self.took.load(Ordering::Relaxed) {
            // How fast the rest of a long result arrives depends on its caller.
            took if took > 0 && !offered.offer.kind.gives_stream() => Duration::from_nanos(took),
            _ => self.age(),
        };
        offered.meter.left(self.earlier + ran);
        offered.meter.count_end(end);
        self.end_span(end);
    }

    fn end_span(&self, end: u8) {
        let Some(end) = CallEnd::from_index(end).filter(|_| !self.span.is_none()) else { return };
        let is_answer = matches!(end, CallEnd::Returned | CallEnd::Fault);
        self.span.note_node(self.route.node.id());
        self.span.note_end(end, is_answer.then_some(Executed::Yes));
    }

    /// Returns the index of the function among the offers of the node.
    pub(crate) fn index(&self) -> usize {
        self.route.index as usize
    }
}

impl<H: NodeHandle> Drop for CallPermit<H> {
    fn drop(&mut self) {
        if self.is_request {
            return self.route.node.end_request();
        }
        self.count_end();
        if !self.is_counted() {
            return self.route.node.end_continuing();
        }
        // Free the slot, then read the number of waiting calls: see "No lost wake-up" at the
        // router.
        self.route.node.release(self.index());
        self.router.dispatch_waiting(&self.route.node);
    }
}
