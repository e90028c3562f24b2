//! For benches: the generated stub and handler of a function, without a network between them.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;

use crate::client::answer_form::AnswerForm;
use crate::client::call::result;
use crate::client::handle::Client;
use crate::client::pending_call::{PendingCall, put_request};
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::handler::{Body, Handler, Inputs, Reply, Request, Run, TaskSlot};
use crate::function::local::Local;
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::function::states::States;
use crate::transport::connection::{ConnectionState, ManagedConnection};
use crate::transport::io::Io;
use crate::transport::io::role::IoRole;
use crate::wire::bench::caller;
use crate::wire::bytes::Malformed;
use crate::wire::caller::KnownCaller;
use crate::wire::header::CallHeader;
use crate::wire::limits::{DEFAULT_MAX_DECODED, MAX_MESSAGE, MessageLimits};
use crate::wire::mux::take_frame;

/// A remote function whose stub and handler run in one process.
#[derive(Debug)]
pub struct Direct<F> {
    client: Client,
    handler: Handler,
    node: Arc<str>,
    caller: KnownCaller,
    states: Arc<States>,
    function: PhantomData<fn() -> F>,
    /// Keeps the tasks of the client's connection alive.
    _io: IoRole,
}

/// The default limits of a role.
const LIMITS: MessageLimits =
    MessageLimits { max_message: MAX_MESSAGE, max_decoded: DEFAULT_MAX_DECODED };

/// The output of a function's call.
pub type CallResult<F> = Result<
    <<F as RemoteUnary>::Output as Outcome>::Value,
    <<F as RemoteUnary>::Output as Outcome>::Error,
>;

impl<F: RemoteUnary + Local> Direct<F> {
    /// Creates a client that never connects, and `F` as a node would run it.
    ///
    /// # Panics
    /// If the system has no random numbers, threads or file descriptors left.
    #[must_use]
    pub fn unconnected() -> Self {
        let io = IoRole::start(Io::Thread, |stop, _| async move { stop.cancelled().await });
        let io = io.expect("the system has a thread left");
        let (_, state) = watch::channel(ConnectionState::Connecting);
        let link = ManagedConnection::new(io.tasks().clone(), state, Duration::ZERO, LIMITS);
        let link = Arc::new(link.expect("the system has random numbers"));
        Self {
            client: Client { link, owned: None, options: Arc::default(), scope: None },
            handler: F::handler(),
            node: "node".into(),
            caller: caller(),
            states: Arc::default(),
            function: PhantomData,
            _io: io,
        }
    }

    /// Encodes what the stub sends: header and arguments.
    ///
    /// # Errors
    /// Those of the stub.
    pub fn request(&self, arguments: &F::Arguments) -> Result<Bytes, Error> {
        let mut pending = PendingCall::typed::<F>(&self.client, arguments)?;
        pending.freeze()?;
        let mut out = Vec::new();
        put_request(&mut pending.header, pending.deadline, &pending.body, &mut out)?;
        Ok(out.into())
    }

    /// Runs the function and returns the node's answer. A function that is pending is cancelled.
    ///
    /// # Errors
    /// If the request cannot be decoded, or the function is pending.
    pub fn answer(&self, mut request: Bytes) -> Result<Bytes, Error> {
        let header = take_frame(&mut request, 0).map_err(Malformed::into_error)?;
        let body = take_frame(&mut request, MAX_MESSAGE).map_err(Malformed::into_error)?;
        let header = CallHeader::read(&header.body).map_err(Malformed::into_error)?;
        let (codec, link) = (header.codec, self.client.link.clone());
        let context = Context::new(
            self.node.clone(),
            header,
            self.caller.clone(),
            None,
            self.states.clone(),
            false,
            link,
        );
        let body = Body { bytes: body.body, charge: None };
        let request =
            Request { codec, body, limits: LIMITS, context: context.clone(), reply: Reply::new() };
        let inputs = Inputs::new(context);
        let reply = match &self.handler.run {
            Run::Blocking(run) | Run::Inline(run) => Some(run(inputs, request)),
            Run::Task(run) => {
                let mut slot = TaskSlot::default();
                run(inputs, request, &mut slot);
                slot.poll_once().ok()
            }
            Run::Thread(_) | Run::Stream(_) | Run::Batch(_) | Run::Operator(_) => None,
        };
        let waits = || Error::new(ErrorKind::Failed, "the function is not ready at its first poll");
        reply.map(Bytes::from).ok_or_else(waits)
    }

    /// Decodes the answer as the stub does.
    ///
    /// # Errors
    /// Those of the call.
    pub fn result(&self, mut answer: Bytes) -> CallResult<F> {
        let frame = take_frame(&mut answer, MAX_MESSAGE).map_err(Malformed::into_error)?;
        result::<F>(&frame, &AnswerForm::TYPED, DEFAULT_MAX_DECODED, &mut 0)
    }

    /// Runs all three steps.
    ///
    /// # Errors
    /// Those of the call.
    pub fn call(&self, arguments: &F::Arguments) -> CallResult<F> {
        self.result(self.answer(self.request(arguments)?)?)
    }
}
