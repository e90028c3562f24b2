//! What a mock does when one of its functions is called, and what it has seen.

use std::fmt::{self, Debug};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::descriptor::Descriptor;
use crate::function::handler::{Body, Handler, Inputs, Reply, Request, Run, arguments};
use crate::function::item_writer::ItemWriter;
use crate::function::registry::Function;
use crate::function::remote::Remote;
use crate::function::signature::Signature;
use crate::wire::codec::Codec;
use crate::wire::error::put_error;
use crate::wire::kind::Kind;
use crate::wire::limits::MessageLimits;

/// A call that has arrived. Its arguments are kept as they came, so that nothing more is asked of
/// their types.
#[derive(Clone, Debug)]
pub(super) struct ReceivedCall {
    pub(super) codec: Codec,
    pub(super) limits: MessageLimits,
    /// Id of the mock's node.
    pub(super) node: String,
    body: Bytes,
    context: Context,
}

impl ReceivedCall {
    fn new(inputs: &Inputs, request: Request) -> Self {
        let node = inputs.context().node().to_owned();
        let Request { codec, body, limits, context } = request;
        Self { codec, limits, node, body: body.bytes, context }
    }

    /// The arguments, or the frame that refuses them.
    fn try_arguments<F: Remote>(&self) -> Result<F::Arguments, Reply> {
        let body = Body { bytes: self.body.clone(), ..Body::default() };
        let (codec, limits) = (self.codec, self.limits);
        let context = self.context.clone();
        arguments::<F>(&mut Request { codec, body, limits, context })
    }

    /// The arguments of a call of `F`.
    pub(super) fn arguments<F: Remote>(&self) -> F::Arguments {
        // `Script::take` gives none away before they have been decoded once.
        self.try_arguments::<F>().expect("arguments that decoded once do so again")
    }
}

/// What answers a call.
pub(super) enum Reaction {
    Unary(Box<dyn Fn(Inputs, ReceivedCall) -> BoxFuture<'static, Reply> + Send + Sync>),
    Stream(Box<dyn Fn(Inputs, ReceivedCall, ItemWriter) -> BoxFuture<'static, ()> + Send + Sync>),
    /// Nothing, ever.
    Hang,
}

/// A reaction, and the calls that it is for.
pub(super) struct MockRule {
    /// The calls with these arguments; all, if there are none.
    pub(super) only: Option<Only>,
    /// How many calls, exactly; any number, if there is none.
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

/// A call as one would write it: `add(1, 2)`.
fn as_called<F: Remote<Arguments: Debug>>(arguments: &F::Arguments) -> String {
    let tuple = format!("{arguments:?}");
    // A tuple of one is shown with a comma.
    let tuple = tuple.strip_suffix(",)").map_or(tuple.clone(), |inside| format!("{inside})"));
    format!("{}{tuple}", F::DESCRIPTOR.name)
}

/// What a mock does with the calls of one function.
pub(super) struct Script {
    descriptor: Descriptor,
    signature: &'static Signature,
    check: fn(&ReceivedCall) -> Result<(), Reply>,
    rules: Vec<MockRule>,
    seen: Mutex<Seen>,
    /// Calls that there have been, for those who wait for them.
    n_calls: watch::Sender<usize>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<ReceivedCall>,
    /// By rule.
    n_answered: Vec<usize>,
    /// For people.
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

    /// Whether it answers calls of `F`: another function may have the same name on the wire.
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

    /// What the mock's node offers.
    pub(super) fn function(self: &Arc<Self>) -> Function {
        let script = self.clone();
        let run = match self.descriptor.kind {
            Kind::Unary | Kind::Upload => Run::Task(Arc::new(move |inputs, request| {
                let script = script.clone();
                async move { script.answer(inputs, request).await }.boxed()
            })),
            Kind::Stream | Kind::Duplex => Run::Stream(Arc::new(move |inputs, request, outbox| {
                let script = script.clone();
                async move { script.stream(inputs, request, outbox).await }.boxed()
            })),
        };
        // A mock may say of a call that it did not run, which is then made again.
        let (descriptor, signature) = (self.descriptor.idempotent(), self.signature);
        let (name, handler) = (descriptor.name.into(), Handler::new(run));
        Function { name, instance: None, descriptor, signature, handler }
    }

    async fn answer(&self, inputs: Inputs, request: Request) -> Reply {
        let received = ReceivedCall::new(&inputs, request);
        match self.take(&received) {
            Ok(Reaction::Unary(answer)) => answer(inputs, received).await,
            // The methods of the builder fit the reaction to the kind of function.
            Ok(Reaction::Hang | Reaction::Stream(_)) => std::future::pending().await,
            Err(refusal) => refusal,
        }
    }

    async fn stream(&self, inputs: Inputs, request: Request, outbox: ItemWriter) {
        let received = ReceivedCall::new(&inputs, request);
        match self.take(&received) {
            Ok(Reaction::Stream(pour)) => pour(inputs, received, outbox).await,
            Ok(Reaction::Hang | Reaction::Unary(_)) => std::future::pending().await,
            Err(refusal) => outbox.refuse(refusal).await,
        }
    }

    /// Notes a call, and finds out what to do with it.
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
        // After all is noted: who waits for the call looks at it next.
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

    /// The first rule that is for the call, and has not had all of its calls; those for certain
    /// arguments come before those for all.
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

    /// The call, as far as its arguments can be shown.
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

    /// What there has been otherwise than expected, a line each.
    pub(super) fn complaints(&self) -> Vec<String> {
        let seen = self.seen.lock();
        let unmet = self.rules.iter().zip(&seen.n_answered).filter_map(|(rule, &n)| {
            let times = rule.times.filter(|times| *times != n)?;
            Some(format!("`{}`: expected {}, got {n}", self.rule_shown(rule), calls(times)))
        });
        let unexpected = seen.unexpected.iter().map(|call| format!("`{call}`: unexpected call"));
        unmet.chain(unexpected).collect()
    }

    /// The arguments of all calls, in the order of their arrival.
    pub(super) fn calls<F: Remote>(&self) -> Vec<F::Arguments> {
        self.seen.lock().calls.iter().map(ReceivedCall::arguments::<F>).collect()
    }

    /// Waits until there have been so many calls.
    pub(super) async fn called(&self, n_calls: usize) {
        let mut counted = self.n_calls.subscribe();
        // The sender is here, so it has not been dropped.
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
