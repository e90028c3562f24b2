//! What is the same for each call at a node, on whatever stream it has come.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind, Executed};
use crate::function::context::{Context, Scope};
use crate::function::execution_policy::Permits;
use crate::function::handler::{Body, Inputs, Request, Run, panicked};
use crate::function::registry::Function;
use crate::function::upload::RawUpload;
use crate::node::NodeState;
use crate::node::exec::work::Died;
use crate::transport::connection::ManagedConnection;
use crate::wire::caller::KnownCaller;
use crate::wire::header::CallHeader;

/// A call whose header has been read.
pub(crate) struct AdmittedCall<'a> {
    pub(crate) function: &'a Arc<Function>,
    pub(crate) header: CallHeader,
    pub(crate) caller: KnownCaller,
    pub(crate) deadline: Option<Instant>,
}

/// What a small call holds while its function runs.
pub(crate) struct JobPermits {
    _place: Permits,
    /// One of those that may block.
    _thread: Option<OwnedSemaphorePermit>,
}

impl NodeState {
    /// Finds the function of a call that has come now.
    ///
    /// # Errors
    /// Why it cannot run here.
    pub(crate) fn admit(&self, mut header: CallHeader) -> Result<AdmittedCall<'_>, Error> {
        let Some(caller) = header.caller.take() else {
            let text = "the gateway does not say who calls";
            return Err(Error::new(ErrorKind::Protocol, text));
        };
        let deadline = header.timeout.map(|left| Instant::now() + left);
        let name = &header.function;
        let function = self.registry.get(name).ok_or_else(|| {
            let text = format!("node `{}` does not offer `{name}`", self.id);
            Error::new(ErrorKind::NoSuchFunction, text)
        })?;
        let signature = function.signature;
        let same = header.fingerprint == 0 || header.fingerprint == signature.fingerprint;
        // The gateway has compared both; the node relies on nobody for what it decodes.
        if !same || header.kind != function.descriptor.kind {
            let text = format!("the types of `{name}` differ: the node has `{}`", signature.text);
            return Err(Error::new(ErrorKind::SignatureMismatch, text));
        }
        Ok(AdmittedCall { function, header, caller, deadline })
    }

    /// What a call of `function` needs before it may run, if it is there at once.
    pub(crate) fn places_now(&self, function: &Function) -> Option<JobPermits> {
        let place = function.handler.policy.place_now(&self.running)?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(self.blocking.clone().try_acquire_owned().ok()?),
            _ => None,
        };
        Some(JobPermits { _place: place, _thread: thread })
    }

    /// Waits for what a call of `function` needs before it may run. (Nobody closes the semaphores.)
    pub(crate) async fn places(&self, function: &Function) -> Option<JobPermits> {
        let place = function.handler.policy.places(&self.running).await.ok()?;
        let thread = match function.handler.run {
            Run::Blocking(_) => Some(self.blocking.clone().acquire_owned().await.ok()?),
            _ => None,
        };
        Some(JobPermits { _place: place, _thread: thread })
    }

    /// The error of a call of `function` whose deadline has passed.
    pub(crate) fn late(&self, function: &str, executed: Executed) -> Error {
        let text = format!("the deadline of `{function}` passed at its node");
        let error = Error::new(ErrorKind::DeadlineExceeded, text);
        error.with_executed(executed).with_node(&*self.id)
    }

    /// The error of a call of `function` whose code has not ended by itself.
    pub(crate) fn died(&self, function: &str, died: Died) -> Error {
        let error = match died {
            Died::Panicked(panic) => panicked(function, &*panic),
            Died::Aborted => {
                let text = format!("the node shut down while `{function}` was running");
                Error::new(ErrorKind::Cancelled, text).with_executed(Executed::Maybe)
            }
        };
        error.with_node(&*self.id)
    }
}

impl AdmittedCall<'_> {
    /// What the function runs with. It hears by `cancelled` that the call is over, unless it is
    /// detached.
    pub(crate) fn inputs(
        self,
        shared: &NodeState,
        cancelled: &CancellationToken,
        link: &Arc<ManagedConnection>,
        upload: Option<RawUpload>,
        (body, max_message): (Body, usize),
    ) -> (Inputs, Request) {
        let Self { function, header, caller, deadline } = self;
        let detached = function.handler.policy.detached;
        let cancelled = match detached {
            true => CancellationToken::new(),
            false => cancelled.clone(),
        };
        let scope = Scope { deadline: deadline.map(Instant::into_std), cancelled };
        let codec = header.codec;
        let context =
            Context::new(shared.id.clone(), header, caller, scope, detached, link.clone())
                .at_instance(function.instance.clone());
        let request = Request { codec, body, max_message, context: context.clone() };
        (Inputs { states: shared.states.clone(), context, upload }, request)
    }
}

/// The error of a call whose arguments find no room.
pub(crate) fn no_room() -> Error {
    let text = "the node holds all the arguments that it has room for; try again, or send less at \
                a time";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(Duration::from_millis(100))
}
