//! The script of a mocked function: its rules, and the calls that it has received.

use std::fmt::{self, Debug};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::call::demand::Demand;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::descriptor::Descriptor;
use crate::function::handler::{
    Body, Handler, Inputs, OfferedOperator, Reply, Request, Run, arguments, refusal,
};
use crate::function::item_writer::ItemWriter;
use crate::function::operators::applied::RunningOperator;
use crate::function::registry::Function;
use crate::function::remote::Remote;
use crate::function::signature::Signature;
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::limits::MessageLimits;

/// A call that has arrived. Its arguments stay encoded, so that their types need not be `Clone`.
#[derive(Clone, Debug)]
pub(super) struct ReceivedCall {
    pub(super) codec: Codec,
    pub(super) limits: MessageLimits,
    /// Id of the mock's node.
    pub(super) node: String,
    body: Bytes,
    pub(super) context: Context,
    /// What the reader of the stream has taken, if its caller tells.
    pub(super) demand: Option<Arc<Demand>>,
    /// The functions that are applied to the items of the stream.
    pub(super) operators: Vec<OfferedOperator>,
}

impl ReceivedCall {
    fn new(inputs: &Inputs, request: Request) -> Self {
        let node = inputs.context().node().to_owned();
        let Request { codec, body, limits, context, .. } = request;
        let (demand, operators) = (inputs.demand.clone(), inputs.operators.clone());
        Self { codec, limits, node, body: body.bytes, context, demand, operators }
    }

    /// Decodes the arguments.
    ///
    /// # Errors
    /// The frame that rejects the call.
    fn try_arguments<F: Remote>(&self) -> Result<F::Arguments, Reply> {
        let body = Body { bytes: self.body.clone(), ..Body::default() };
        let (codec, limits) = (self.codec, self.limits);
        let context = self.context.clone();
        arguments::<F>(&mut Request { codec, body, limits, context, reply: Reply::new() })
    }

    /// Prepares the functions that are applied to the items of the stream.
    ///
    /// # Errors
    /// The frame that rejects the call.
    pub(super) fn start_operators(&self) -> Result<Vec<RunningOperator>, Reply> {
        let start = |operator: &OfferedOperator| operator.start(&self.context, self.codec);
        let running: Result<_, Error> = self.operators.iter().map(start).collect();
        running.map_err(|error| refusal(error, &self.context))
    }

    /// Returns the arguments of a call of `F`.
    pub(super) fn arguments<F: Remote>(&self) -> F::Arguments {
        // `Script::take` passes a call on only after it has decoded the arguments once.
        self.try_arguments::<F>().expect("arguments that decoded once do so again")
    }
}

/// How a call is answered.
pub(super) enum Reaction {
    Unary(Box<dyn Fn(Inputs, ReceivedCall) -> BoxFuture<'static, Reply> + Send + Sync>),
    Stream(Box<dyn Fn(Inputs, ReceivedCall, ItemWriter) -> BoxFuture<'static, ()> + Send + Sync>),
    /// Never.
    Hang,
}

/// A reaction, and the calls that it is for.
pub(super) struct MockRule {
    /// The arguments that a call must have; `None` matches all calls.
    pub(super) only: Option<Only>,
    /// The exact number of calls; `None` allows any number.
    pub(super) times: Option<usize>,
    pub(super) reaction: Reaction,
}

/// The arguments that a rule is for.
pub(super) struct Only {
    fits: Box<dyn Fn(&ReceivedCall) -> bool + Send + Sync>,
    shown: String,
    show: fn(&ReceivedCall) -> String,
}

impl Only {
    pub(super) fn new<F: Remote<Arguments: PartialEq + Debug>>(wanted: F::Arguments) -> Self {
        let shown = as_called::<F>(&wanted);
        // Arguments need not be `Sync`.
        let wanted = Mutex::new(wanted);
        let fits = move |received: &ReceivedCall| *wanted.lock() == received.arguments::<F>();
        let show = |received: &ReceivedCall| as_called::<F>(&received.arguments::<F>());
        Self { fits: Box::new(fits), shown, show }
    }
}

/// Formats a call as it is written in code: `add(1, 2)`.
fn as_called<F: Remote<Arguments: Debug>>(arguments: &F::Arguments) -> String {
    let tuple = format!("{arguments:?}");
    // `Debug` formats a tuple of one element with a comma.
    let tuple = tuple.strip_suffix(",)").map_or(tuple.clone(), |inside| format!("{inside})"));
    format!("{}{tuple}", F::DESCRIPTOR.name)
}

/// The rules of one mocked function, and its calls so far.
pub(super) struct Script {
    descriptor: Descriptor,
    signature: &'static Signature,
    check: fn(&ReceivedCall) -> Result<(), Reply>,
    rules: Vec<MockRule>,
    seen: Mutex<Seen>,
    /// The number of calls so far, for `Mock::called`.
    n_calls: watch::Sender<usize>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<ReceivedCall>,
    /// The number of calls that each rule has answered.
    n_answered: Vec<usize>,
    /// Unexpected calls, formatted.
    unexpected: Vec<String>,
}

impl Script {
    pub(super) fn new<F: Remote>() -> Self {
        Self {
            descriptor: F::DESCRIPTOR,
            signature: F::signature(),
            check: |received| received.try_arguments::<F>().map(drop),
            rules: Vec::new(),
            seen: Mutex::default(),
            n_calls: watch::Sender::new(0),
        }
    }

    /// Returns whether it is the script of `F`: another function may have the same name on the
    /// wire.
    pub(super) fn is_of<F: Remote>(&self) -> bool {
        self.descriptor.kind == F::DESCRIPTOR.kind
            && self.signature.fingerprint == F::signature().fingerprint
    }

    pub(super) fn push(&mut self, rule: MockRule) {
        self.rules.push(rule);
        self.seen.lock().n_answered.push(0);
    }

    pub(super) fn last(&mut self) -> Option<&mut MockRule> {
        self.rules.last_mut()
    }

    /// Returns the function that the mock's node offers.
    pub(super) fn function(self: &Arc<Self>) -> Function {
        let script = self.clone();
        let run = match self.descriptor.kind.gives_stream() {
            false => Run::Task(Arc::new(move |inputs, request, slot| {
                let script = script.clone();
                slot.set(async move { script.answer(inputs, request).await });
            })),
            true => Run::Stream(Arc::new(move |inputs, request, writer| {
                let script = script.clone();
                async move { script.stream(inputs, request, writer).await }.boxed()
            })),
        };
        // Marked idempotent: a mock may answer that a call did not run, and the retry has the same
        // id.
        let (descriptor, signature) = (self.descriptor.idempotent(), self.signature);
        let (name, handler) = (descriptor.name.into(), Handler::new(run));
        let (instance, meter) = (None, Arc::default());
        Function { name, instance, descriptor, signature, handler, meter }
    }

    async fn answer(&self, inputs: Inputs, request: Request) -> Reply {
        let received = ReceivedCall::new(&inputs, request);
        match self.take(&received) {
            Ok(Reaction::Unary(answer)) => answer(inputs, received).await,
            // A stream reaction cannot occur here: the builder's methods check the kind of `F`.
            Ok(Reaction::Hang | Reaction::Stream(_)) => std::future::pending().await,
            Err(refusal) => refusal,
        }
    }

    async fn stream(&self, inputs: Inputs, request: Request, writer: ItemWriter) {
        let received = ReceivedCall::new(&inputs, request);
        match self.take(&received) {
            Ok(Reaction::Stream(forward)) => forward(inputs, received, writer).await,
            Ok(Reaction::Hang | Reaction::Unary(_)) => std::future::pending().await,
            Err(refusal) => writer.refuse(refusal).await,
        }
    }

    /// Records a call, and selects the rule that answers it.
    fn take(&self, received: &ReceivedCall) -> Result<&Reaction, Reply> {
        (self.check)(received)?;
        let found = {
            let mut seen = self.seen.lock();
            seen.calls.push(received.clone());
            let found = self.find(received, &seen.n_answered);
            match found {
                Some(index) => seen.n_answered[index] += 1,
                None => seen.unexpected.push(self.shown(received)),
            }
            found
        };
        // After the call is recorded: a waiter reads the record next.
        self.n_calls.send_modify(|n| *n += 1);
        found.map(|index| &self.rules[index].reaction).ok_or_else(|| {
            let text = format!(
                "unexpected call of `{}`; the mock expects {}",
                self.shown(received),
                self.expected()
            );
            let mut reply = Vec::new();
            let error = Error::new(ErrorKind::BadArguments, text);
            put_error(&mut reply, &error.with_node(received.node.as_str()));
            reply
        })
    }

    /// Returns the first rule that matches the call and has calls left; rules for specific
    /// arguments come before rules for all.
    fn find(&self, received: &ReceivedCall, n_answered: &[usize]) -> Option<usize> {
        let open =
            |index: &usize| self.rules[*index].times.is_none_or(|times| n_answered[*index] < times);
        let certain = |index: &usize| {
            self.rules[*index].only.as_ref().is_some_and(|only| (only.fits)(received))
        };
        let mut all = 0..self.rules.len();
        let first = all.clone().filter(open).find(certain);
        first.or_else(|| all.find(|index| self.rules[*index].only.is_none() && open(index)))
    }

    /// Formats the call; the arguments only if a rule can format them.
    fn shown(&self, received: &ReceivedCall) -> String {
        let show = self.rules.iter().find_map(|rule| rule.only.as_ref());
        show.map_or_else(|| self.any(), |only| (only.show)(received))
    }

    fn any(&self) -> String {
        format!("{}(..)", self.descriptor.name)
    }

    fn rule_shown(&self, rule: &MockRule) -> String {
        rule.only.as_ref().map_or_else(|| self.any(), |only| only.shown.clone())
    }

    fn expected(&self) -> String {
        let rules = self.rules.iter().map(|rule| {
            let times = rule.times.map_or_else(|| "any number of calls".into(), calls);
            format!("`{}` ({times})", self.rule_shown(rule))
        });
        rules.collect::<Vec<_>>().join(", ")
    }

    /// Returns the deviations from what was expected, one line each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let seen = self.seen.lock();
        let unmet = self.rules.iter().zip(&seen.n_answered).filter_map(|(rule, &n)| {
            let times = rule.times.filter(|times| *times != n)?;
            Some(format!("`{}`: expected {}, got {n}", self.rule_shown(rule), calls(times)))
        });
        let unexpected = seen.unexpected.iter().map(|call| format!("`{call}`: unexpected call"));
        unmet.chain(unexpected).collect()
    }

    /// Returns the arguments of all calls, in the order of arrival.
    pub(super) fn calls<F: Remote>(&self) -> Vec<F::Arguments> {
        self.seen.lock().calls.iter().map(ReceivedCall::arguments::<F>).collect()
    }

    /// Waits until `n_calls` calls have arrived.
    pub(super) async fn called(&self, n_calls: usize) {
        let mut counted = self.n_calls.subscribe();
        // Cannot fail: `self` holds the sender.
        let _ = counted.wait_for(|n| *n >= n_calls).await;
    }
}

impl Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Script({})", self.expected())
    }
}

fn calls(n: usize) -> String {
    if n == 1 { "1 call".to_owned() } else { format!("{n} calls") }
}
