//! Spawning: calls that run as jobs, without their callers.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::client::call::{Call, RawCall, not_asked_for};
use crate::client::handle::Client;
use crate::client::job::{Job, JobTypes, RawJob};
use crate::error::{Error, ErrorKind, Executed};
use crate::function::remote::RemoteUnary;
use crate::wire::frame::FrameKind;
use crate::wire::job::{JobOption, read_accepted};

impl<F: RemoteUnary> Call<F> {
    /// Runs the call as a [`Job`]: on its node, without its caller. Options come before.
    ///
    /// The future resolves when a node has accepted the job: its function runs, or waits there for
    /// a permit. From then on neither the end of this program nor a lost gateway ends the job, and
    /// it inherits no deadline and no cancellation from an enclosing call. It ends when its function
    /// does, when it is [cancelled](Job::cancel), at its deadline, or with its node.
    ///
    /// - A [`timeout`](Self::timeout) or `deadline` limits the whole job, from the first poll of
    ///   this future to the end of the function. So does the function's `#[remote(timeout)]`.
    /// - The job counts against the places of its node until it ends.
    /// - A [`key`](Self::key) makes a spawn safe to repeat: the second one returns the same job.
    /// - The result is kept within [`NodeLimits::kept`](crate::node::NodeLimits::kept); an identity
    ///   may have 1,024 jobs at a node, running or kept.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// #[remote]
    /// fn train(epochs: u32) -> f64 {
    ///     1.0 - 1.0 / f64::from(epochs)
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let node = Node::builder(gateway.local_addr()).tag("gpu").functions(functions![train]);
    /// # let _node = node.serve().await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let job = train::call(&client, 4).tag("gpu").spawn().await?;
    /// assert_eq!(job.result().await?, 0.75);
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "background")]
    #[doc(alias = "detach")]
    #[doc(alias = "submit")]
    pub fn spawn(self) -> Spawn<F> {
        Spawn { raw: RawSpawn::new(self.raw, JobTypes::typed::<F>()), function: PhantomData }
    }
}

/// A call on its way to becoming a job: a future of the [`Job`]. Returned by [`Call::spawn`].
///
/// ```
/// # use easyremote::{Client, remote};
/// # #[remote]
/// # async fn train(epochs: u32) -> f64;
/// # async fn example(client: Client) -> Result<(), easyremote::Error> {
/// let job = train::call(&client, 3).spawn().await?;
/// println!("{}", job.id());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of a call before its function starts, and [`ErrorKind::Overloaded`], `No`, if the node
/// keeps too much for this identity. [`ErrorKind::InvalidInput`] if the call takes a client stream.
/// If [`Error::executed`] is `Maybe`, the job may have been accepted: [`Client::jobs`] lists it.
///
/// # Cancel safety
/// Dropping the future before it has resolved cancels the call, unless the node has accepted the job
/// already: then it runs, and [`Client::jobs`] lists it.
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct Spawn<F: RemoteUnary> {
    raw: RawSpawn,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteUnary> Future for Spawn<F> {
    type Output = Result<Job<F>, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.raw.poll(context).map_ok(Job::new)
    }
}

/// A [`Spawn`] without types.
#[derive(Debug)]
pub(super) struct RawSpawn {
    call: RawCall,
    /// The client and the name of the function; `None` if the call has failed already.
    target: Option<(Client, String)>,
    types: JobTypes,
}

impl RawSpawn {
    pub(super) fn new(mut call: RawCall, types: JobTypes) -> Self {
        let (mut target, mut takes_stream) = (None, false);
        call.change(|pending| {
            pending.header.job = Some(Box::new(JobOption::Spawn));
            target = Some((pending.client.clone(), pending.header.function.to_string()));
            takes_stream = pending.upload.is_some();
            // It inherits nothing from an enclosing call.
            pending.client.scope = None;
        });
        if takes_stream {
            let text = "a call with a client stream cannot run without its caller";
            call = RawCall::new(Err(Error::new(ErrorKind::InvalidInput, text)));
        } else if call.has_begun() {
            let text = "`spawn` comes before the first poll of a call";
            let error = Error::new(ErrorKind::InvalidInput, text).with_executed(Executed::Maybe);
            call = RawCall::new(Err(error));
        }
        Self { call, target, types }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<RawJob, Error>> {
        let frame = ready!(self.call.poll(context))?.frame;
        Poll::Ready(match &self.target {
            Some((client, function)) if frame.kind == FrameKind::Accepted => {
                let id = read_accepted(&frame.body, function).map_err(|cause| {
                    let error = Error::new(ErrorKind::Protocol, cause.to_string());
                    error.with_executed(Executed::Maybe)
                })?;
                Ok(RawJob::new(client, id, self.types.clone()))
            }
            _ => Err(not_asked_for(frame.kind)),
        })
    }
}
