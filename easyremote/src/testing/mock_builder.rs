//! What a mock answers, put together.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures::future::{Either, select};
use futures::{FutureExt, Stream, StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::error::Error;
use crate::function::handler::{Inputs, Reply};
use crate::function::item_writer::ItemWriter;
use crate::function::registry::Functions;
use crate::function::remote::{Remote, RemoteStream, RemoteUnary};
use crate::function::upload::Upload;
use crate::testing::answer::{Answer, AsyncAnswer, AsyncAnswerWith, Item, Split, Step};
use crate::testing::mock::Mock;
use crate::testing::script::{MockRule, Only, Reaction, ReceivedCall, Script};
use crate::testing::world::World;

/// What a [`Mock`] answers, from [`Mock::builder`].
///
/// `F` is a function by its name, as in [`functions!`](crate::functions): `.on::<add>(..)`.
///
/// One function may have several answers. A call gets the first that is for its arguments (see
/// [`expect`](Self::expect)), or else the first for all arguments, that has not had all of its
/// [`times`](Self::times). A call for which none is left fails with
/// [`ErrorKind::BadArguments`](crate::ErrorKind), and [`Mock::verify`] reports it.
///
/// The closures run on the node's side of the mock, as tasks of the runtime of the test: they
/// should not block. A panic in one reaches the caller as
/// [`ErrorKind::Panicked`](crate::ErrorKind).
#[must_use = "a builder does nothing until `serve` is called"]
pub struct MockBuilder {
    id: String,
    tags: Vec<String>,
    scripts: BTreeMap<&'static str, Script>,
    /// The function that has got the last answer.
    last: Option<&'static str>,
}

impl MockBuilder {
    pub(super) fn new() -> Self {
        Self { id: "mock".to_owned(), tags: Vec::new(), scripts: BTreeMap::new(), last: None }
    }

    /// The id of the node that seems to answer, `mock` unless set: for calls with
    /// [`on`](crate::Call::on).
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Gives the node a tag: for calls with [`tag`](crate::Call::tag).
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Answers calls of `F`, any number of them unless [`times`](Self::times) follows.
    ///
    /// `answer` gets the arguments as a tuple and gives what the call gives: `Result<T, Error>`, or
    /// `Result<T, CallError<E>>`. If the function takes a stream, it is not read.
    pub fn on<F: RemoteUnary>(
        self,
        answer: impl Fn(F::Arguments) -> Answer<F> + Send + Sync + 'static,
    ) -> Self {
        self.unary::<F, _>(None, move |_, received| {
            let reply = Split::<F>::new(answer(received.arguments::<F>())).encode(&received);
            std::future::ready(reply)
        })
    }

    /// Answers calls of `F` as [`on`](Self::on) does, by a closure that may wait. It is dropped
    /// when the call is.
    pub fn on_async<F: RemoteUnary>(
        self,
        answer: impl AsyncAnswer<F::Arguments, Answer = Answer<F>>,
    ) -> Self {
        self.unary::<F, _>(None, move |_, received| {
            let answering = answer(received.arguments::<F>());
            async move { Split::<F>::new(answering.await).encode(&received) }
        })
    }

    /// Answers calls of `F` as [`on_async`](Self::on_async) does; the closure gets the caller's
    /// stream too.
    ///
    /// # Panics
    /// If the function takes no stream.
    pub fn upload<F: RemoteUnary>(
        self,
        answer: impl AsyncAnswerWith<F::Arguments, Upload<F::Upload>, Answer = Answer<F>>,
    ) -> Self {
        takes_stream::<F>();
        self.unary::<F, _>(None, move |mut inputs, received| {
            let answering = answer(received.arguments::<F>(), inputs.upload());
            async move { Split::<F>::new(answering.await).encode(&received) }
        })
    }

    /// Answers one call of `F`, or as many as [`times`](Self::times) says, that has just these
    /// arguments. [`Mock::verify`] reports it if there were less.
    pub fn expect<F: RemoteUnary<Arguments: PartialEq + Debug>>(
        self,
        arguments: F::Arguments,
        answer: Answer<F>,
    ) -> Self {
        // What functions give need not be `Sync`.
        let answer = Mutex::new(Split::<F>::new(answer));
        self.unary::<F, _>(Some(Only::new::<F>(arguments)), move |_, received| {
            std::future::ready(answer.lock().encode(&received))
        })
    }

    /// Answers calls of `F` with a stream of the items that `items` gives for the arguments; an
    /// error in the place of an item is what the caller's stream gives.
    ///
    /// The stream ends after the last item, and with an error that is not the function's own. An
    /// error that is that of the set-up has to be the first, and takes the place of the stream; so
    /// does an error that is not the function's own, if it is the first.
    pub fn stream<F: RemoteStream>(
        self,
        items: impl Fn(F::Arguments) -> Vec<Item<F>> + Send + Sync + 'static,
    ) -> Self {
        self.streaming::<F, _>(None, move |_, received, outbox| {
            let steps = stream::iter(items(received.arguments::<F>())).map(Step::new);
            pour::<F>(steps.map(shared), received, outbox)
        })
    }

    /// Answers calls of `F` as [`stream`](Self::stream) does, by a closure that may wait and that
    /// gives any stream, also one without end.
    ///
    /// Until the closure's future is ready, the caller's stream is being set up. It is open from
    /// then on, unless the first item is there at once and takes its place.
    pub fn stream_async<F: RemoteStream>(
        self,
        items: impl AsyncAnswer<F::Arguments, Answer: Stream<Item = Item<F>> + Send + 'static>,
    ) -> Self {
        self.streaming::<F, _>(None, move |_, received, outbox| {
            let setting_up = items(received.arguments::<F>());
            async move {
                let steps = setting_up.await.map(Step::new).map(shared);
                pour::<F>(steps, received, outbox).await;
            }
        })
    }

    /// Answers calls of `F` as [`stream_async`](Self::stream_async) does; the closure gets the
    /// caller's stream too.
    ///
    /// # Panics
    /// If the function takes no stream.
    pub fn duplex<F: RemoteStream>(
        self,
        items: impl AsyncAnswerWith<
            F::Arguments,
            Upload<F::Upload>,
            Answer: Stream<Item = Item<F>> + Send + 'static,
        >,
    ) -> Self {
        takes_stream::<F>();
        self.streaming::<F, _>(None, move |mut inputs, received, outbox| {
            let setting_up = items(received.arguments::<F>(), inputs.upload());
            async move {
                let steps = setting_up.await.map(Step::new).map(shared);
                pour::<F>(steps, received, outbox).await;
            }
        })
    }

    /// Answers one call of `F`, or as many as [`times`](Self::times) says, that has just these
    /// arguments, with a stream of `items` as [`stream`](Self::stream) does. [`Mock::verify`]
    /// reports it if there were less.
    pub fn expect_stream<F: RemoteStream<Arguments: PartialEq + Debug>>(
        self,
        arguments: F::Arguments,
        items: impl IntoIterator<Item = Item<F>>,
    ) -> Self {
        let steps: Vec<_> = items.into_iter().map(Step::new).map(shared).collect();
        self.streaming::<F, _>(Some(Only::new::<F>(arguments)), move |_, received, outbox| {
            pour::<F>(stream::iter(steps.clone()), received, outbox)
        })
    }

    /// Never answers calls of `F`, for tests of timeouts and of callers that give up; a stream is
    /// not even set up.
    pub fn hang<F: Remote>(self) -> Self {
        self.rule::<F>(None, Reaction::Hang)
    }

    /// The answer before this is for so many calls exactly: once there have been as many, the next
    /// answer of the function is taken, and [`Mock::verify`] reports it if there were less. With
    /// 0, the call is not expected at all.
    ///
    /// Unless set, an expectation is for one call and any other answer for any number of them.
    ///
    /// # Panics
    /// If there is no answer before this.
    pub fn times(mut self, n_calls: usize) -> Self {
        let script = self.last.and_then(|name| self.scripts.get_mut(name));
        let rule = script.and_then(Script::last);
        rule.expect("`times` comes after the answer that it is for").times = Some(n_calls);
        self
    }

    /// Starts the mock: a gateway, a node that gives the answers, and a client, as in a [`World`].
    ///
    /// # Errors
    /// As for [`World::serve`].
    ///
    /// # Cancel safety
    /// As for [`World::serve`].
    ///
    /// # Panics
    /// As for [`World::serve`].
    pub async fn serve(self) -> Result<Mock, Error> {
        let (refuse, refused) = mpsc::unbounded_channel();
        let scripts: BTreeMap<_, _> =
            self.scripts.into_iter().map(|(name, script)| (name, Arc::new(script))).collect();
        let mut world = World::builder().gateway(move |gateway| gateway.refusals(refuse.clone()));
        // A node has to offer something; a mock may be there to see that nothing is called.
        if !scripts.is_empty() {
            let mut functions = Functions::default();
            for script in scripts.values() {
                functions.extend([script.function()].into());
            }
            let (id, tags) = (self.id, self.tags);
            world = world.node(move |node| {
                let node = node.id(id).functions(functions);
                tags.into_iter().fold(node, |node, tag| node.tag(tag))
            });
        }
        Ok(Mock::new(world.serve().await?, scripts, refused))
    }

    fn unary<F, Fut>(
        self,
        only: Option<Only>,
        answer: impl Fn(Inputs, ReceivedCall) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        F: RemoteUnary,
        Fut: Future<Output = Reply> + Send + 'static,
    {
        let answer = move |inputs, received| answer(inputs, received).boxed();
        self.rule::<F>(only, Reaction::Unary(Box::new(answer)))
    }

    fn streaming<F, Fut>(
        self,
        only: Option<Only>,
        pour: impl Fn(Inputs, ReceivedCall, ItemWriter) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        F: RemoteStream,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let pour = move |inputs, received, outbox| pour(inputs, received, outbox).boxed();
        self.rule::<F>(only, Reaction::Stream(Box::new(pour)))
    }

    fn rule<F: Remote>(mut self, only: Option<Only>, reaction: Reaction) -> Self {
        let name = F::DESCRIPTOR.name;
        // An expectation is for one call, anything else for any number, until `times` says more.
        let times = only.is_some().then_some(1);
        let script = self.scripts.entry(name).or_insert_with(Script::new::<F>);
        assert!(script.is_of::<F>(), "two functions of different types are called `{name}`");
        script.push(MockRule { only, times, reaction });
        self.last = Some(name);
        self
    }
}

/// A [`Step`] that may be used for several calls at a time; it need not be `Sync`.
type MockCalls<F> = Arc<Mutex<Step<F>>>;

fn shared<F: RemoteStream>(step: Step<F>) -> MockCalls<F> {
    Arc::new(Mutex::new(step))
}

fn takes_stream<F: Remote>() {
    let name = F::DESCRIPTOR.name;
    assert!(F::DESCRIPTOR.kind.takes_stream(), "`{name}` takes no stream from its caller");
}

/// Sends a stream of `steps`, or what the first says in place of one.
async fn pour<F: RemoteStream>(
    steps: impl Stream<Item = MockCalls<F>> + Send,
    received: ReceivedCall,
    mut outbox: ItemWriter,
) {
    let mut steps = pin!(steps);
    // Taken by the loop, or else it is waited for after the caller has heard that there is a
    // stream.
    let mut first = steps.next().now_or_never();
    if let Some(Some(step)) = &first {
        let refusal = step.lock().refusal(&received);
        if let Some(refusal) = refusal {
            return outbox.refuse(refusal).await;
        }
    }
    outbox.open();
    if outbox.flush().await.is_err() {
        return;
    }
    loop {
        let next = match first.take() {
            Some(next) => next,
            None => match select(steps.next(), pin!(outbox.closed())).await {
                Either::Left((next, _)) => next,
                Either::Right(_) => return,
            },
        };
        let Some(step) = next else { return outbox.end().await };
        let put = step.lock().put(&received, &mut outbox);
        if let Err(error) = put {
            return outbox.fail(&error).await;
        }
        if outbox.flush().await.is_err() {
            return;
        }
        // A stream that is always ready must let others run, and be abortable.
        tokio::task::coop::consume_budget().await;
    }
}

impl Debug for MockBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MockBuilder")
            .field("id", &self.id)
            .field("tags", &self.tags)
            .field("answers", &self.scripts)
            .finish_non_exhaustive()
    }
}
