//! Checks every call before it runs, and prepares it for the table.

use std::sync::Arc;

use tokio::time::Instant;

use crate::call::deadline::has_passed;
use crate::call::executed::Evidence;
use crate::call::operator_mismatch::operator_mismatch;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::handler::{Body, Inputs, OfferedOperator, Reply, Request, Run};
use crate::function::registry::Function;
use crate::node::exec::clock::Clock;
use crate::node::exec::job::ReadyCall;
use crate::node::exec::table::{CallKey, Responder, RunningCall};
use crate::node::state::{NodeState, Session};
use crate::transport::call_span::CallSpan;
use crate::wire::caller::KnownCaller;
use crate::wire::codec::Codec;
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::operators::{AppliedFunction, applied_in};

/// A call whose header has been read.
pub(super) struct AdmittedCall<'a> {
    pub(super) function: &'a Arc<Function>,
    pub(super) header: CallHeader,
    pub(super) caller: KnownCaller,
    pub(super) deadline: Option<Instant>,
    /// The functions that its operators apply, in order.
    pub(super) operators: Vec<OfferedOperator>,
}

/// Finds the function of a call that has just arrived, and checks its signature and deadline.
///
/// # Errors
/// - `Protocol` if the gateway does not name the caller.
/// - `NoSuchFunction` if the node does not offer the function, or one that an operator applies.
/// - `SignatureMismatch` if the types or the kind of one of them differ.
/// - `InvalidInput` if a call with a stream has a key.
/// - `DeadlineExceeded` if the deadline has passed.
pub(super) fn admit(node: &NodeState, mut header: CallHeader) -> Result<AdmittedCall<'_>, Error> {
    let Some(caller) = header.caller.take() else {
        return Err(Error::new(ErrorKind::Protocol, "the gateway does not name the caller"));
    };
    let deadline = header.timeout.map(|left| Instant::now() + left);
    let name = &header.function;
    let function = node.registry.get(name).ok_or_else(|| {
        let text = format!("node `{}` does not offer `{name}`", node.id);
        Error::new(ErrorKind::NoSuchFunction, text)
    })?;
    let signature = function.signature;
    let same = header.fingerprint == 0 || header.fingerprint == signature.fingerprint;
    // By name it is found out while decoding whether the two versions fit.
    let same = same || header.codec.is_by_name();
    // The gateway has compared them, but the node does not rely on it: it is about to decode.
    if !same || header.kind != function.descriptor.kind {
        let text = format!("the types of `{name}` differ: the node has `{}`", signature.text);
        return Err(Error::new(ErrorKind::SignatureMismatch, text));
    }
    if header.key.is_some() && header.kind != Kind::Unary {
        let text = format!("a call of `{name}` has no key, because it has a stream");
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    if has_passed(deadline) {
        return Err(node.late(name, Evidence::NotStarted));
    }
    let operators = applied_in(&header.operators).map(|applied| offered(node, applied));
    let operators = operators.collect::<Result<_, _>>()?;
    Ok(AdmittedCall { function, header, caller, deadline, operators })
}

/// Finds a function that is applied to the items of a stream.
///
/// # Errors
/// `NoSuchFunction` if the node does not offer it as an operator, `SignatureMismatch` if its types
/// differ.
fn offered(node: &NodeState, applied: &Arc<AppliedFunction>) -> Result<OfferedOperator, Error> {
    let AppliedFunction { name, fingerprint, .. } = &**applied;
    let function = node.registry.get(name);
    let Some((function, Run::Operator(start))) = function.map(|it| (it, &it.handler.run)) else {
        let text = format!("node `{}` does not offer the operator `{name}`", node.id);
        return Err(Error::new(ErrorKind::NoSuchFunction, text));
    };
    let signature = function.signature;
    if *fingerprint != 0 && *fingerprint != signature.fingerprint {
        return Err(operator_mismatch(name, &node.id, &signature.text));
    }
    Ok(OfferedOperator { applied: applied.clone(), start: start.clone() })
}

impl AdmittedCall<'_> {
    /// Returns the call for the table, and the job for the task pool or a thread.
    pub(super) fn prepare(
        self,
        session: &Session,
        key: CallKey,
        responder: Responder,
        body: Body,
    ) -> (RunningCall, ReadyCall) {
        let Self { function, mut header, caller, deadline, operators } = self;
        let node = &session.node;
        let held = header.traced.then_some(header.held);
        // A request about a job is no call of the function.
        let is_call = header.job_request().is_none();
        let span = match is_call {
            true => CallSpan::of_node(&mut header, &caller, &node.id),
            false => CallSpan::none(),
        };
        let clock = is_call.then(|| Clock::new(function.meter.clone(), held, span.clone()));
        let detached = function.handler.policy.detached;
        let until = deadline.map(Instant::into_std);
        let codec = header.codec;
        let link = session.link.clone();
        let states = node.states.clone();
        let context = Context::new(node.id.clone(), header, caller, until, states, detached, link)
            .at_instance(function.instance.clone());
        if codec == Codec::Lossy {
            context.tally().count_left_out(&node.counters.left_out);
        }
        let limits = session.limits;
        let request =
            Request { codec, body, limits, context: context.clone(), reply: Reply::new() };
        let call = RunningCall::new(function.clone(), responder, deadline, context.clone(), clock);
        let inputs = Inputs { operators, ..Inputs::new(context) };
        let job = ReadyCall { key, function: function.clone(), inputs, request, items: None, span };
        (call, job)
    }
}
