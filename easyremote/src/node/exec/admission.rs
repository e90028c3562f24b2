//! What holds for every call at a node before it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::deadline::has_passed;
use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::{Context, Scope};
use crate::function::execution_policy::Permits;
use crate::function::handler::{Body, Inputs, Request, Run, panicked};
use crate::function::registry::Function;
use crate::node::NodeState;
use crate::node::exec::calls::{CallKey, Job, NodeCalls, Responder};
use crate::node::exec::clock::Clock;
use crate::node::exec::table::RunningCall;
use crate::node::exec::work::Died;
use crate::wire::caller::KnownCaller;
use crate::wire::header::CallHeader;

/// A call whose header has been read.
pub(super) struct AdmittedCall<'a> {
    pub(super) function: &'a Arc<Function>,
    pub(super) header: CallHeader,
    pub(super) caller: KnownCaller,
    pub(super) deadline: Option<Instant>,
}

/// What a call holds while its function runs.
pub(super) struct JobPermits {
    _place: Permits,
    /// For a sync function: one of the blocking threads.
    _thread: Option<OwnedSemaphorePermit>,
}

/// Finds the function of a call that has arrived now.
///
/// # Errors
/// Why it cannot run here.
pub(super) fn admit(node: &NodeState, mut header: CallHeader) -> Result<AdmittedCall<'_>, Error> {
    let Some(caller) = header.caller.take() else {
        return Err(Error::new(ErrorKind::Protocol, "the gateway does not say who calls"));
    };
    let deadline = header.timeout.map(|left| Instant::now() + left);
    let name = &header.function;
    let function = node.registry.get(name).ok_or_else(|| {
        let text = format!("node `{}` does not offer `{name}`", node.id);
        Error::new(ErrorKind::NoSuchFunction, text)
    })?;
    let signature = function.signature;
    let same = header.fingerprint == 0 || header.fingerprint == signature.fingerprint;
    // The gateway has compared both; the node decodes on nobody's word.
    if !same || header.kind != function.descriptor.kind {
        let text = format!("the types of `{name}` differ: the node has `{}`", signature.text);
        return Err(Error::new(ErrorKind::SignatureMismatch, text));
    }
    if has_passed(deadline) {
        return Err(node.late(name, Evidence::NotStarted));
    }
    Ok(AdmittedCall { function, header, caller, deadline })
}

impl NodeState {
    /// What a call of `function` needs before it may run, if it is there at once.
    pub(super) fn try_permits(&self, function: &Function) -> Option<JobPermits> {
        let place = function.handler.policy.try_permits(&self.running)?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(self.blocking.clone().try_acquire_owned().ok()?),
            _ => None,
        };
        Some(JobPermits { _place: place, _thread: thread })
    }

    /// Waits for what a call of `function` needs before it may run. (Nobody closes the semaphores.)
    pub(super) async fn permits(&self, function: &Function) -> Option<JobPermits> {
        let place = function.handler.policy.permits(&self.running).await.ok()?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(self.blocking.clone().acquire_owned().await.ok()?),
            _ => None,
        };
        Some(JobPermits { _place: place, _thread: thread })
    }

    /// The error of a call of `function` whose deadline has passed.
    pub(super) fn late(&self, function: &str, evidence: Evidence) -> Error {
        let text = format!("the deadline of `{function}` passed at its node");
        let error = Error::new(ErrorKind::DeadlineExceeded, text);
        error.with_evidence(evidence).with_node(&*self.id)
    }

    /// The error of a call of `function` that has not returned, where `evidence` says whether it has
    /// started.
    pub(super) fn died(&self, function: &str, died: Died, evidence: Evidence) -> Error {
        let error = match died {
            Died::Panicked(panic) => panicked(function, &*panic),
            Died::Aborted => {
                let text = format!("the node shut down while `{function}` was running");
                Error::new(ErrorKind::Cancelled, text).with_evidence(evidence)
            }
            Died::Refused(error) => error,
        };
        error.with_node(&*self.id)
    }
}

impl AdmittedCall<'_> {
    /// The call for the table, and the job for whatever runs it. The function learns from
    /// `cancelled` that the call has ended, unless it is detached.
    pub(super) fn prepare(
        self,
        calls: &NodeCalls,
        key: CallKey,
        responder: Responder,
        cancelled: CancellationToken,
        body: Body,
    ) -> (RunningCall, Job) {
        let Self { function, header, caller, deadline } = self;
        let (node, session) = (calls.node(), &calls.session);
        let clock = header.traced.then(|| Clock::new(header.held));
        let detached = function.handler.policy.detached;
        let heard = if detached { CancellationToken::new() } else { cancelled.clone() };
        let scope = Scope { deadline: deadline.map(Instant::into_std), cancelled: heard };
        let codec = header.codec;
        let link = session.link.clone();
        let context = Context::new(node.id.clone(), header, caller, scope, detached, link)
            .at_instance(function.instance.clone());
        let max_message = session.max_message;
        let request = Request { codec, body, max_message, context: context.clone() };
        let inputs = Inputs { states: node.states.clone(), context, upload: None };
        let call = RunningCall::new(function.clone(), responder, deadline, cancelled, clock);
        let job = Job { key, function: function.clone(), inputs, request, items: None };
        (call, job)
    }
}

/// The error of a call whose arguments find no room.
pub(super) fn no_room() -> Error {
    let text = "the node holds all the arguments that it has room for; try again, or send less at \
                a time";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}
