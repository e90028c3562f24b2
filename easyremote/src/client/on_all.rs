//! Calls to all nodes that offer a function.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};

use crate::client::call::Call;
use crate::client::handle::Client;
use crate::client::options::{DeadlineSpec, Options};
use crate::client::pending_call::PendingCall;
use crate::error::{Error, ErrorKind, Executed};
use crate::function::outcome::Outcome;
use crate::function::remote::RemoteUnary;
use crate::wire::limits::MAX_CLIENT_STREAMS;

impl<F: RemoteUnary> Call<F> {
    /// Makes the call at each node that offers the function now.
    ///
    /// Returns a stream of `(node id, result)`, in the order in which the calls end. The first poll
    /// asks the gateway for the nodes, and then calls each of them once. With
    /// [`tag`](Self::tag) those with the tags are called. Nodes that come later are not, and a node
    /// that leaves meanwhile ends with an error like any other call [`on`](Self::on) it.
    ///
    /// The other options hold for each call. A timeout begins with the first poll, and is common to
    /// all of them. Set them before; see [`OnAll`] for what comes out.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// use futures::StreamExt;
    ///
    /// #[remote]
    /// fn forget(key: String) -> bool {
    ///     key.is_empty()
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![forget]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let mut results = forget::call(&client, "a key".into()).on_all();
    /// while let Some((node, result)) = results.next().await {
    ///     println!("{node}: {result:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "broadcast")]
    #[doc(alias = "scatter")]
    #[doc(alias = "fan-out")]
    pub fn on_all(self) -> OnAll<F> {
        OnAll { state: OnAllState::Ready(self.raw.into_pending().and_then(checked)) }
    }
}

/// A call of one function at all nodes that offer it: a [`Stream`] of `(node id, result)`. Returned
/// by [`Call::on_all`].
///
/// | item | meaning |
/// |---|---|
/// | `(id, Ok(value))` | the function has run at this node |
/// | `(id, Err(error))` | the call of this node has failed, with the errors of any call; the others go on |
/// | `("", Err(error))` | no node was called; the stream ends |
///
/// The last one has an empty id. Its kind is [`NoNode`](ErrorKind::NoNode) if no node offers the
/// function, or none with the tags of the call, or if this client may not call it; otherwise that of
/// an error of the question to the gateway. [`executed`](Error::executed) is `No`.
///
/// A node that offers the function with other types is
/// [`SignatureMismatch`](ErrorKind::SignatureMismatch). A node that is full keeps its call waiting,
/// until its deadline if it has one.
///
/// The arguments are encoded once. At most 1,024 calls are in flight, and fewer if they would hold
/// more than 64 MiB of arguments. A client of several gateways calls the nodes of the one that it
/// is connected to.
///
/// A call with a client stream, or with [`on`](Call::on) or [`hedge`](Call::hedge), is one
/// [`InvalidInput`](ErrorKind::InvalidInput) with an empty id.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// # use futures::StreamExt;
/// # #[remote]
/// # fn version() -> u32 { 7 }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let one = Node::builder(gateway.local_addr()).id("one").functions(functions![version]);
/// # let two = Node::builder(gateway.local_addr()).id("two").functions(functions![version]);
/// # let _nodes = (one.serve().await?, two.serve().await?);
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let versions: Vec<_> = version::call(&client).on_all().collect().await;
/// assert!(versions.iter().all(|(_, version)| matches!(version, Ok(7))));
/// assert_eq!(versions.len(), 2); // the nodes `one` and `two`
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the stream cancels the calls in flight. Its `next` can be dropped without losing a
/// result.
#[must_use = "a stream does nothing until it is polled"]
pub struct OnAll<F: RemoteUnary> {
    state: OnAllState<F>,
}

enum OnAllState<F: RemoteUnary> {
    /// Before the first poll.
    Ready(Result<Box<PendingCall>, Error>),
    /// The gateway is asked for the nodes.
    Asking(BoxFuture<'static, Result<Vec<String>, Error>>, Box<PendingCall>),
    Calling {
        /// The nodes that are called next.
        nodes: std::vec::IntoIter<String>,
        pending: Box<PendingCall>,
        running: FuturesUnordered<NodeCall<F>>,
    },
    Done,
}

/// A call at one node.
struct NodeCall<F: RemoteUnary> {
    node: String,
    call: Call<F>,
}

type NodeResult<F> = (String, <Call<F> as Future>::Output);

/// Most arguments that the calls in flight hold, in bytes.
const MAX_HELD: usize = 64 << 20;

/// Checks that the call can be made at several nodes.
///
/// # Errors
/// `InvalidInput` if it cannot.
fn checked(pending: Box<PendingCall>) -> Result<Box<PendingCall>, Error> {
    let why = if pending.upload.is_some() {
        "its client stream can be sent only once"
    } else if pending.options.routing.on.is_some() {
        "`on` names one node: leave one of the two out"
    } else if pending.hedge.is_some() {
        "`hedge` needs a second node for the same call: leave one of the two out"
    } else {
        return Ok(pending);
    };
    let text = format!("cannot call `{}` on all nodes: {why}", pending.header.function);
    Err(Error::new(ErrorKind::InvalidInput, text))
}

/// Returns the nodes that offer `function` and have all `tags`, sorted.
///
/// # Errors
/// `NoNode` if there is none, and those of the questions to the gateway.
async fn nodes_of(
    client: Client,
    function: String,
    tags: Vec<String>,
) -> Result<Vec<String>, Error> {
    let offers = client.functions().await?.into_iter().filter(|info| info.name == function);
    let mut nodes: BTreeSet<String> = offers.flat_map(|info| info.nodes).collect();
    if !tags.is_empty() && !nodes.is_empty() {
        let infos = client.nodes().await?.into_iter();
        let tagged = infos.filter(|info| tags.iter().all(|tag| info.tags.contains(tag)));
        let tagged: BTreeSet<String> = tagged.map(|info| info.id).collect();
        nodes.retain(|node| tagged.contains(node));
    }
    if !nodes.is_empty() {
        return Ok(nodes.into_iter().collect());
    }
    let with = if tags.is_empty() { String::new() } else { format!(" with the tags {tags:?}") };
    let text = format!("no node{with} offers `{function}` now, or this client may not call it");
    Err(Error::new(ErrorKind::NoNode, text))
}

impl<F: RemoteUnary> OnAll<F> {
    /// Returns the state in which the gateway is asked.
    fn ask(mut pending: Box<PendingCall>) -> OnAllState<F> {
        let mut client = pending.client.clone();
        if let Some(deadline) = pending.options.until.deadline() {
            // One deadline for the question and all calls.
            pending.options.until = DeadlineSpec::At(deadline);
            client = client.with(Options { until: pending.options.until, ..Options::default() });
        }
        let (function, tags) = (&pending.header.function, &pending.options.routing.tags);
        let asking = nodes_of(client, function.to_string(), tags.clone());
        OnAllState::Asking(asking.boxed(), pending)
    }

    fn poll_state(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<NodeResult<F>, Error>>> {
        loop {
            match &mut self.state {
                OnAllState::Ready(_) => {
                    let ready = std::mem::replace(&mut self.state, OnAllState::Done);
                    if let OnAllState::Ready(pending) = ready {
                        self.state = match pending {
                            Ok(pending) => Self::ask(pending),
                            Err(error) => return Poll::Ready(Some(Err(error))),
                        };
                    }
                }
                OnAllState::Asking(asking, _) => {
                    let nodes = ready!(asking.as_mut().poll(context));
                    let asked = std::mem::replace(&mut self.state, OnAllState::Done);
                    match (nodes, asked) {
                        (Ok(nodes), OnAllState::Asking(_, pending)) => {
                            let (nodes, running) = (nodes.into_iter(), FuturesUnordered::new());
                            self.state = OnAllState::Calling { nodes, pending, running };
                        }
                        // Whatever became of the question, the function has not run.
                        (nodes, _) => {
                            let error = nodes.err();
                            return Poll::Ready(
                                error.map(|it| Err(it.with_executed(Executed::No))),
                            );
                        }
                    }
                }
                OnAllState::Calling { nodes, pending, running } => {
                    let most = (MAX_HELD / pending.body.len().max(1))
                        .clamp(1, MAX_CLIENT_STREAMS as usize);
                    while running.len() < most
                        && let Some(node) = nodes.next()
                    {
                        running.push(NodeCall::new(pending, node));
                    }
                    let next = ready!(running.poll_next_unpin(context));
                    return Poll::Ready(next.map(Ok));
                }
                OnAllState::Done => return Poll::Ready(None),
            }
        }
    }
}

impl<F: RemoteUnary> NodeCall<F> {
    fn new(pending: &PendingCall, node: String) -> Self {
        let of_node = pending.again().map(|mut pending| {
            pending.options.routing.on = Some(node.clone());
            pending
        });
        // `checked` has excluded client streams.
        let once = || Error::new(ErrorKind::InvalidInput, "a client stream can be sent only once");
        Self { node, call: Call::new(of_node.ok_or_else(once)) }
    }
}

impl<F: RemoteUnary> Future for NodeCall<F> {
    type Output = NodeResult<F>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let result = ready!(Pin::new(&mut self.call).poll(context));
        Poll::Ready((std::mem::take(&mut self.node), result))
    }
}

impl<F: RemoteUnary> Stream for OnAll<F> {
    /// `(node id, Result<T, Error>)`, or `(node id, Result<T, CallError<E>>)`: see the table of
    /// [`Call`].
    type Item = (String, Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.poll_state(context));
        Poll::Ready(
            next.map(|next| next.unwrap_or_else(|error| (String::new(), Err(error.into())))),
        )
    }
}

impl<F: RemoteUnary> fmt::Debug for OnAll<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OnAll({})", F::DESCRIPTOR.name)
    }
}
