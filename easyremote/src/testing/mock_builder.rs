//! Builds a mock from the answers of its functions.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::sync::Arc;

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
use crate::testing::forward::{forward, shared};
use crate::testing::mock::Mock;
use crate::testing::script::{MockRule, Only, Reaction, ReceivedCall, Script};
use crate::testing::world::World;

/// Builds a [`Mock`] from the answers of its functions; from [`Mock::builder`].
///
/// `F` is the name of a function, as in [`functions!`](crate::functions): `.on::<add>(..)`.
///
/// A function can have several answers. A call receives the first one that has calls left (see
/// [`times`](Self::times)): first among the answers for its exact arguments (see
/// [`expect`](Self::expect)), then among those for all arguments. If none is left, the call fails
/// with [`ErrorKind::BadArguments`](crate::ErrorKind), and [`Mock::verify`] reports it.
///
/// The closures run on the node's side of the mock, as tasks of the test's runtime, and should not
/// block. A panic in one reaches the caller as [`ErrorKind::Panicked`](crate::ErrorKind).
///
/// ```
/// use easyremote::{remote, testing::Mock};
///
/// #[remote]
/// fn add(a: i64, b: i64) -> i64 {
///     a + b
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// let mock = Mock::builder()
///     .expect::<add>((1, 2), Ok(3)) // one call with these arguments
///     .on::<add>(|_| Ok(0)) // any number of others
///     .serve()
///     .await?;
/// assert_eq!(add::call(mock.client(), 1, 2).await?, 3);
/// assert_eq!(add::call(mock.client(), 7, 7).await?, 0);
/// # Ok(())
/// # }
/// ```
#[must_use = "a builder does nothing until `serve` is called"]
pub struct MockBuilder {
    id: String,
    tags: Vec<String>,
    scripts: BTreeMap<&'static str, Script>,
    operators: Functions,
    /// The function that the last answer was added for.
    last: Option<&'static str>,
}

impl MockBuilder {
    pub(super) fn new() -> Self {
        let (id, scripts, operators) = ("mock".to_owned(), BTreeMap::new(), Functions::default());
        Self { id, tags: Vec::new(), scripts, operators, last: None }
    }

    /// Sets the id of the node that answers, for calls with [`on`](crate::Call::on). Default:
    /// `mock`.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().id("gpu-1").on::<add>(|_| Ok(42)).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).on("gpu-1").await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Adds a tag to the node, for calls with [`tag`](crate::Call::tag).
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().tag("gpu").on::<add>(|_| Ok(42)).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).tag("gpu").await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "label")]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Offers operators, which act on mocked streams as they do on others.
    ///
    /// All other operators of streams need not be offered. One that takes a `#[state]` needs a node
    /// that has it, in a [`World`].
    ///
    /// ```
    /// # use easyremote::{functions, remote, testing::Mock};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count() -> impl Stream<Item = u64> {
    /// #     stream::iter(0..)
    /// # }
    /// #[remote(operator)]
    /// fn odd(n: &u64) -> bool {
    ///     n % 2 == 1
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().operators(functions![odd]).stream::<count>(|()| vec![Ok(2), Ok(3)]);
    /// let mock = mock.serve().await?;
    /// let mut odd_ones = count::call(mock.client()).through(odd::with());
    /// assert_eq!(odd_ones.next().await.unwrap()?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn operators(mut self, operators: Functions) -> Self {
        self.operators.extend(operators);
        self
    }

    /// Answers calls of `F` with a closure; any number of calls, unless [`times`](Self::times)
    /// follows.
    ///
    /// `answer` takes the arguments as a tuple and returns what the call returns: `Result<T,
    /// Error>`, or `Result<T, CallError<E>>`. If the function takes a stream, the mock does not
    /// read it.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|(a, b)| Ok(10 * a + b)).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).await?, 12);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "when")]
    #[doc(alias = "returning")]
    pub fn on<F: RemoteUnary>(
        self,
        answer: impl Fn(F::Arguments) -> Answer<F> + Send + Sync + 'static,
    ) -> Self {
        self.unary::<F, _>(None, move |_, received| {
            let reply = Split::<F>::new(answer(received.arguments::<F>())).encode(&received);
            std::future::ready(reply)
        })
    }

    /// Answers calls of `F` like [`on`](Self::on), with an async closure. Its future is dropped
    /// when the call is.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// use std::time::Duration;
    ///
    /// let slow = |(a, b)| async move {
    ///     tokio::time::sleep(Duration::from_millis(5)).await;
    ///     Ok(a + b)
    /// };
    /// let mock = Mock::builder().on_async::<add>(slow).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_async<F: RemoteUnary>(
        self,
        answer: impl AsyncAnswer<F::Arguments, Answer = Answer<F>>,
    ) -> Self {
        self.unary::<F, _>(None, move |_, received| {
            let answering = answer(received.arguments::<F>());
            async move { Split::<F>::new(answering.await).encode(&received) }
        })
    }

    /// Answers calls of `F` like [`on_async`](Self::on_async), with a closure that also receives
    /// the caller's stream.
    ///
    /// ```
    /// use easyremote::{remote, testing::Mock};
    /// use futures::{Stream, StreamExt, stream};
    ///
    /// #[remote]
    /// async fn sum(start: u64, numbers: impl Stream<Item = u64>) -> u64 {
    ///     numbers.fold(start, |sum, n| async move { sum + n }).await
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder()
    ///     .upload::<sum>(|(_start,), numbers| async move { Ok(numbers.count().await as u64) })
    ///     .serve()
    ///     .await?;
    /// assert_eq!(sum::call(mock.client(), 0, stream::iter([5, 6, 7])).await?, 3);
    /// # Ok(())
    /// # }
    /// ```
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

    /// Expects one call of `F` with exactly these arguments, and answers it.
    ///
    /// [`times`](Self::times) sets another number of calls. [`Mock::verify`] reports missing calls.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().expect::<add>((1, 2), Ok(3)).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).await?, 3);
    /// assert!(add::call(mock.client(), 1, 2).await.is_err()); // once only
    /// # Ok(())
    /// # }
    /// ```
    pub fn expect<F: RemoteUnary<Arguments: PartialEq + Debug>>(
        self,
        arguments: F::Arguments,
        answer: Answer<F>,
    ) -> Self {
        // Results of functions need not be `Sync`.
        let answer = Mutex::new(Split::<F>::new(answer));
        self.unary::<F, _>(Some(Only::new::<F>(arguments)), move |_, received| {
            std::future::ready(answer.lock().encode(&received))
        })
    }

    /// Answers calls of `F` with a stream of the items that `items` returns for the arguments. An
    /// `Err` in place of an item reaches the caller as it is.
    ///
    /// The stream ends after the last item, or with the first error that is not the function's own.
    /// If the first item is such an error, or an error of the set-up, the stream is refused
    /// instead.
    ///
    /// ```
    /// use easyremote::{remote, testing::Mock};
    /// use futures::{Stream, StreamExt, stream};
    ///
    /// #[remote(stream)]
    /// fn count(to: u32) -> impl Stream<Item = u32> {
    ///     stream::iter(0..to)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().stream::<count>(|_| vec![Ok(7), Ok(8)]).serve().await?;
    /// let items: Vec<_> = count::call(mock.client(), 100).collect().await;
    /// assert_eq!(items.len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// In the closure's task, if an error of the set-up is not the first item; the caller receives
    /// [`ErrorKind::Panicked`](crate::ErrorKind).
    pub fn stream<F: RemoteStream>(
        self,
        items: impl Fn(F::Arguments) -> Vec<Item<F>> + Send + Sync + 'static,
    ) -> Self {
        self.streaming::<F, _>(None, move |_, received, writer| {
            let steps = stream::iter(items(received.arguments::<F>())).map(Step::new);
            forward::<F>(steps.map(shared), received, writer)
        })
    }

    /// Answers calls of `F` like [`stream`](Self::stream), with an async closure that returns any
    /// stream, even an endless one.
    ///
    /// The set-up of the caller's stream lasts until the closure's future is ready. The stream is
    /// open then, unless its first item is ready at once and refuses it.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(to: u32) -> impl Stream<Item = u32> {
    /// #     stream::iter(0..to)
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder()
    ///     .stream_async::<count>(|(from,)| async move { stream::iter(from..).map(Ok) })
    ///     .serve()
    ///     .await?;
    /// let mut items = count::call(mock.client(), 5);
    /// assert_eq!(items.next().await.unwrap()?, 5);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream_async<F: RemoteStream>(
        self,
        items: impl AsyncAnswer<F::Arguments, Answer: Stream<Item = Item<F>> + Send + 'static>,
    ) -> Self {
        self.streaming::<F, _>(None, move |_, received, writer| {
            let setting_up = items(received.arguments::<F>());
            async move {
                let steps = setting_up.await.map(Step::new).map(shared);
                forward::<F>(steps, received, writer).await;
            }
        })
    }

    /// Answers calls of `F` like [`stream_async`](Self::stream_async), with a closure that also
    /// receives the caller's stream.
    ///
    /// ```
    /// use easyremote::{remote, testing::Mock};
    /// use futures::{Stream, StreamExt, stream};
    ///
    /// #[remote(stream)]
    /// fn double(numbers: impl Stream<Item = i64>) -> impl Stream<Item = i64> {
    ///     numbers.map(|n| 2 * n)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder()
    ///     .duplex::<double>(|(), numbers| async move { numbers.map(|n| Ok(-n)) })
    ///     .serve()
    ///     .await?;
    /// let mut items = double::call(mock.client(), stream::iter([1, 2]));
    /// assert_eq!(items.next().await.unwrap()?, -1);
    /// # Ok(())
    /// # }
    /// ```
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
        self.streaming::<F, _>(None, move |mut inputs, received, writer| {
            let setting_up = items(received.arguments::<F>(), inputs.upload());
            async move {
                let steps = setting_up.await.map(Step::new).map(shared);
                forward::<F>(steps, received, writer).await;
            }
        })
    }

    /// Expects one call of `F` with exactly these arguments, and answers it with a stream of
    /// `items` like [`stream`](Self::stream).
    ///
    /// [`times`](Self::times) sets another number of calls. [`Mock::verify`] reports missing calls.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # use futures::{Stream, StreamExt, stream};
    /// # #[remote(stream)]
    /// # fn count(to: u32) -> impl Stream<Item = u32> {
    /// #     stream::iter(0..to)
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().expect_stream::<count>((3,), [Ok(7)]).serve().await?;
    /// assert_eq!(count::call(mock.client(), 3).next().await.unwrap()?, 7);
    /// mock.verify();
    /// # Ok(())
    /// # }
    /// ```
    pub fn expect_stream<F: RemoteStream<Arguments: PartialEq + Debug>>(
        self,
        arguments: F::Arguments,
        items: impl IntoIterator<Item = Item<F>>,
    ) -> Self {
        let steps: Vec<_> = items.into_iter().map(Step::new).map(shared).collect();
        self.streaming::<F, _>(Some(Only::new::<F>(arguments)), move |_, received, writer| {
            forward::<F>(stream::iter(steps.clone()), received, writer)
        })
    }

    /// Never answers calls of `F`, to test timeouts and cancellation. A stream is not even set up.
    ///
    /// ```
    /// # use easyremote::{ErrorKind, remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// use std::time::Duration;
    ///
    /// let mock = Mock::builder().hang::<add>().serve().await?;
    /// let call = add::call(mock.client(), 1, 2).timeout(Duration::from_millis(50));
    /// assert_eq!(call.await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "timeout")]
    pub fn hang<F: Remote>(self) -> Self {
        self.rule::<F>(None, Reaction::Hang)
    }

    /// Sets the exact number of calls of the answer before it.
    ///
    /// After `n_calls` calls, the next answer of the function is used. [`Mock::verify`] reports
    /// missing calls. With 0, the call is not expected at all. Default: one call for an
    /// expectation, and any number for every other answer.
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|_| Ok(1)).times(1).on::<add>(|_| Ok(2));
    /// let mock = mock.serve().await?;
    /// assert_eq!(add::call(mock.client(), 0, 0).await?, 1);
    /// assert_eq!(add::call(mock.client(), 0, 0).await?, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Panics
    /// If no answer was added before.
    pub fn times(mut self, n_calls: usize) -> Self {
        let script = self.last.and_then(|name| self.scripts.get_mut(name));
        let rule = script.and_then(Script::last);
        rule.expect("`times` comes after the answer that it is for").times = Some(n_calls);
        self
    }

    /// Starts the mock: a gateway, a node that answers, and a client, as in a [`World`].
    ///
    /// ```
    /// # use easyremote::{remote, testing::Mock};
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 {
    /// #     a + b
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let mock = Mock::builder().on::<add>(|_| Ok(42)).serve().await?;
    /// assert_eq!(add::call(mock.client(), 1, 2).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
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
        // A node must offer at least one function, but a mock without answers is valid: it tests
        // that nothing is called.
        if !scripts.is_empty() {
            let mut functions = self.operators;
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
        forward: impl Fn(Inputs, ReceivedCall, ItemWriter) -> Fut + Send + Sync + 'static,
    ) -> Self
    where
        F: RemoteStream,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let forward = move |inputs, received, writer| forward(inputs, received, writer).boxed();
        self.rule::<F>(only, Reaction::Stream(Box::new(forward)))
    }

    fn rule<F: Remote>(mut self, only: Option<Only>, reaction: Reaction) -> Self {
        let name = F::DESCRIPTOR.name;
        // Defaults until `times` is called: one call for an expectation, any number otherwise.
        let times = only.is_some().then_some(1);
        let script = self.scripts.entry(name).or_insert_with(Script::new::<F>);
        assert!(script.is_of::<F>(), "two functions of different types are called `{name}`");
        script.push(MockRule { only, times, reaction });
        self.last = Some(name);
        self
    }
}

fn takes_stream<F: Remote>() {
    let name = F::DESCRIPTOR.name;
    assert!(F::DESCRIPTOR.kind.takes_stream(), "`{name}` takes no stream from its caller");
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
