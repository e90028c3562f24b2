//! Jobs: handles of calls that run without their callers.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::time::Duration;

use futures::{StreamExt, stream};

use crate::client::answer_form::AnswerForm;
use crate::client::call::{RawCall, not_asked_for, result};
use crate::client::handle::Client;
use crate::client::options::DeadlineSpec;
use crate::client::pending_call::PendingCall;
use crate::error::{Error, ErrorKind, Executed};
use crate::function::descriptor::{Descriptor, Skew};
use crate::function::outcome::Outcome;
use crate::function::remote::{Remote, RemoteUnary};
use crate::wire::bytes::Malformed;
use crate::wire::codec::Codec;
use crate::wire::directory::JOBS;
use crate::wire::frame::{Frame, FrameKind};
use crate::wire::job::{
    JobId, JobOption, JobReport, JobRequest, JobStatus, MAX_RESULT_WAIT, read_list,
};

/// A job: a call that runs on a node without its caller. Returned by [`Call::spawn`] and
/// [`Client::job`].
///
/// The handle does no I/O by itself, and dropping it does not end the job. Clones refer to the same
/// job. All of its methods can be called any number of times, from any program of the identity that
/// has spawned the job, through any gateway that the node is registered at.
///
/// | method                    | what it does                                                |
/// |---------------------------|-------------------------------------------------------------|
/// | [`id`](Self::id)          | returns what to store, to find the job again                |
/// | [`status`](Self::status)  | asks whether it waits, runs or has ended, and how far it is |
/// | [`result`](Self::result)  | waits for what the function returns                         |
/// | [`cancel`](Self::cancel)  | cancels the function                                        |
///
/// The node keeps the result for 24 hours, and for 10 minutes after somebody has got it with
/// `result`, within [`NodeLimits::kept`](crate::node::NodeLimits::kept). A job is as durable as its
/// node: it survives its caller and restarts of gateways, and ends with the node.
///
/// ```
/// # use easyremote::{Client, Context, Gateway, Node, functions, remote};
/// use easyremote::client::{Job, JobId};
///
/// #[remote]
/// fn train(#[ctx] ctx: &Context, epochs: u32) -> f64 {
///     for epoch in 0..epochs {
///         ctx.progress(f64::from(epoch) / f64::from(epochs), format!("epoch {epoch}"));
///     }
///     0.97
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![train]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let job = train::call(&client, 3).spawn().await?;
/// let text = job.id().to_string(); // for a file, or another program
/// # drop(client);
///
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let id: JobId = text.parse()?;
/// let job: Job<train> = client.job(&id);
/// println!("{:?}", job.status().await?.progress);
/// assert_eq!(job.result().await?, 0.97);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`NoSuchJob`](ErrorKind::NoSuchJob), `Maybe`, if the node does not know the job, or it belongs to
/// another identity; [`NoNode`](ErrorKind::NoNode) if the node is not connected;
/// [`InvalidInput`](ErrorKind::InvalidInput) if the id is that of a job of another function. A
/// request that fails says nothing about the job, so its [`executed`](Error::executed) is at least
/// `Maybe`.
///
/// [`Call::spawn`]: crate::Call::spawn
#[doc(alias = "task")]
#[doc(alias = "background")]
#[doc(alias = "handle")]
pub struct Job<F: RemoteUnary> {
    raw: RawJob,
    function: PhantomData<fn() -> F>,
}

impl<F: RemoteUnary> Clone for Job<F> {
    fn clone(&self) -> Self {
        Self::new(self.raw.clone())
    }
}

impl<F: RemoteUnary> fmt::Debug for Job<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Job({})", self.raw.id)
    }
}

/// A job in the list of [`Client::jobs`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JobInfo {
    /// The id of the job, which names its function and its node.
    pub id: JobId,
    /// What it does.
    pub status: JobStatus,
}

impl<F: RemoteUnary> Job<F> {
    pub(super) fn new(raw: RawJob) -> Self {
        Self { raw, function: PhantomData }
    }

    /// Returns the id of the job, with which [`Client::job`] finds it again.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # async fn train(epochs: u32) -> f64;
    /// # async fn example(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let job = train::call(&client, 3).spawn().await?;
    /// std::fs::write("job.txt", job.id().to_string())?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.raw.id
    }

    /// Asks what the job does now.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # async fn train(epochs: u32) -> f64;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let job = train::call(&client, 3).spawn().await?;
    /// let status = job.status().await?;
    /// println!("{:?} for {:?}", status.state, status.since);
    /// if let Some(progress) = status.progress {
    ///     println!("{:.0} %: {}", 100.0 * progress.fraction, progress.text);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Job`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request and nothing else.
    #[doc(alias = "progress")]
    pub async fn status(&self) -> Result<JobStatus, Error> {
        self.raw.status().await
    }

    /// Waits for the end of the job, and returns what the function returns: the same as awaiting
    /// the call.
    ///
    /// The wait survives restarts of the gateway, and outages that are not longer than the client's
    /// [`connect_timeout`](crate::auth::DialOptions::connect_timeout). If it fails, it can be
    /// repeated. Several callers may wait. When this returns, the node knows that somebody has the result, and
    /// keeps it for 10 more minutes.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # async fn train(epochs: u32) -> f64;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let job = train::call(&client, 3).spawn().await?;
    /// println!("accuracy {}", job.result().await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of the function and of [`Job`]. Also:
    /// - [`Cancelled`](ErrorKind::Cancelled) if the job was cancelled;
    /// - [`DeadlineExceeded`](ErrorKind::DeadlineExceeded) if its deadline has passed;
    /// - [`TooLarge`](ErrorKind::TooLarge), `Yes`, if the node had no room to keep the result.
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and nothing else.
    #[doc(alias = "join")]
    #[doc(alias = "collect")]
    #[doc(alias = "wait")]
    pub async fn result(
        &self,
    ) -> Result<<F::Output as Outcome>::Value, <F::Output as Outcome>::Error> {
        let frame = self.raw.result().await?;
        let left_out = &self.raw.client.link.tally().left_out;
        let form = AnswerForm::new(self.raw.types.codec, left_out);
        result::<F>(&frame, &form, self.raw.client.link.limits.max_decoded, &mut 0)
    }

    /// Cancels the job: an async function stops at its next await, and one that has not started
    /// never does. A sync function runs to its end, and its result is dropped; until then the job
    /// counts as running. What [`result`](Self::result) returns then is
    /// [`Cancelled`](ErrorKind::Cancelled). Does nothing if the job has ended.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # #[remote]
    /// # async fn train(epochs: u32) -> f64;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let job = train::call(&client, 3).spawn().await?;
    /// job.cancel().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`Job`].
    ///
    /// # Cancel safety
    /// Once it has been polled, the job may be cancelled, even if the future is dropped then.
    #[doc(alias = "abort")]
    #[doc(alias = "kill")]
    pub async fn cancel(&self) -> Result<(), Error> {
        self.raw.cancel().await
    }
}

impl Client {
    /// Returns a handle of a job of `F`. Does no I/O.
    ///
    /// ```
    /// # use easyremote::{Client, remote};
    /// # use easyremote::client::{Job, JobId};
    /// # #[remote]
    /// # async fn train(epochs: u32) -> f64;
    /// # async fn example(client: Client, id: JobId) -> Result<(), easyremote::Error> {
    /// let job: Job<train> = client.job(&id);
    /// println!("accuracy {}", job.result().await?);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn job<F: RemoteUnary>(&self, id: &JobId) -> Job<F> {
        Job::new(RawJob::new(self, id.clone(), JobTypes::typed::<F>()))
    }

    /// Lists the jobs of this client's identity that are at the nodes of its gateway, in the order
    /// of their ids: waiting, running, and ended with a result that is still kept.
    ///
    /// Asks each node that offers a function that this client may call, 16 at a time. A node that
    /// leaves meanwhile is left out.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// for job in client.jobs().await? {
    ///     println!("{}: {:?}", job.id, job.status.state);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The errors of any call: see [`ErrorKind`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the requests.
    #[doc(alias = "list")]
    pub async fn jobs(&self) -> Result<Vec<JobInfo>, Error> {
        /// Nodes that are asked at a time.
        const AT_ONCE: usize = 16;
        let nodes = stream::iter(self.nodes().await?);
        let mut lists =
            nodes.map(|node| async move { self.jobs_at(&node.id).await }).buffer_unordered(AT_ONCE);
        let mut jobs = Vec::new();
        while let Some(listed) = lists.next().await {
            match listed {
                Ok(listed) => jobs.extend(listed),
                Err(error) if matches!(error.kind(), ErrorKind::NoNode | ErrorKind::NodeLost) => {}
                Err(error) => return Err(error),
            }
        }
        jobs.sort_by(|one, two| one.id.cmp(&two.id));
        Ok(jobs)
    }

    /// Lists the jobs of this client's identity at one node.
    async fn jobs_at(&self, node: &str) -> Result<Vec<JobInfo>, Error> {
        let request = NodeRequest { function: JOBS, node, what: JobRequest::List };
        let frame = self.ask_node(request, &JobTypes::json(), DeadlineSpec::Done).await?;
        if frame.kind != FrameKind::Body {
            return Err(not_asked_for(frame.kind));
        }
        let listed = read_list(&frame.body).map_err(undecoded)?;
        let infos = listed.into_iter().map(|(number, function, status)| {
            Ok(JobInfo { id: JobId::new(number, &function, node).map_err(undecoded)?, status })
        });
        infos.collect()
    }

    /// Makes a request about jobs.
    async fn ask_node(
        &self,
        request: NodeRequest<'_>,
        types: &JobTypes,
        until: DeadlineSpec,
    ) -> Result<Frame, Error> {
        let mut pending = PendingCall::job_request(self, request.function, request.node);
        pending.header.job = Some(Box::new(JobOption::Request(request.what)));
        pending.header.codec = types.codec;
        pending.header.fingerprint = types.fingerprint;
        pending.signature = types.signature;
        pending.options.until = until;
        let mut call = RawCall::new(Ok(pending));
        let answer = poll_fn(|context| call.poll(context)).await;
        answer.map(|answer| answer.frame).map_err(at_least_maybe)
    }
}

/// A request about jobs at a node.
struct NodeRequest<'a> {
    function: &'a str,
    node: &'a str,
    what: JobRequest,
}

/// How the caller of a job knows its function.
#[derive(Clone, Debug)]
pub(super) struct JobTypes {
    codec: Codec,
    fingerprint: u64,
    signature: &'static str,
    /// `None` for one that is known by name only.
    descriptor: Option<Descriptor>,
}

impl JobTypes {
    pub(super) fn typed<F: Remote>() -> Self {
        let signature = F::signature();
        Self {
            // The node converts what it has kept, if it was spawned with types.
            codec: F::DESCRIPTOR.skew.map_or(Codec::Bincode, Skew::codec),
            fingerprint: signature.fingerprint,
            signature: &signature.text,
            descriptor: Some(F::DESCRIPTOR),
        }
    }

    pub(super) fn json() -> Self {
        Self { codec: Codec::Json, fingerprint: 0, signature: "", descriptor: None }
    }

    /// Returns whether the function is called `name` on the wire, perhaps at an instance.
    fn is_called(&self, name: &str) -> bool {
        let Some(Descriptor { name: own, owner, .. }) = self.descriptor else { return true };
        let at_instance = |owner: &str| {
            let rest = name.strip_prefix(owner).and_then(|rest| rest.strip_prefix(':'));
            rest.is_some_and(|rest| rest.ends_with(&own[owner.len()..]))
        };
        name == own || owner.is_some_and(at_instance)
    }
}

/// A job without types.
#[derive(Clone, Debug)]
pub(super) struct RawJob {
    pub(super) client: Client,
    pub(super) id: JobId,
    types: JobTypes,
}

impl RawJob {
    pub(super) fn new(client: &Client, id: JobId, types: JobTypes) -> Self {
        Self { client: client.clone(), id, types }
    }

    async fn ask(&self, what: JobRequest, until: DeadlineSpec) -> Result<Frame, Error> {
        let id = &self.id;
        if !self.types.is_called(id.function()) {
            let text = format!("`{id}` is not a job of the function that it is taken for");
            return Err(at_least_maybe(Error::new(ErrorKind::InvalidInput, text)));
        }
        let request = NodeRequest { function: id.function(), node: id.node(), what };
        self.client.ask_node(request, &self.types, until).await
    }

    async fn report(&self, what: JobRequest) -> Result<JobReport, Error> {
        let frame = self.ask(what, DeadlineSpec::Done).await?;
        match frame.kind {
            FrameKind::JobReport => JobReport::read(&frame.body).map_err(undecoded),
            other => Err(not_asked_for(other)),
        }
    }

    pub(super) async fn status(&self) -> Result<JobStatus, Error> {
        self.report(JobRequest::Status(self.id.number())).await.map(|report| report.status)
    }

    pub(super) async fn cancel(&self) -> Result<(), Error> {
        self.report(JobRequest::Cancel(self.id.number())).await.map(drop)
    }

    /// Waits for the end of the job, and returns the `Body` or `Fault` frame of its function.
    pub(super) async fn result(&self) -> Result<Frame, Error> {
        loop {
            let what = JobRequest::Result(self.id.number(), MAX_RESULT_WAIT);
            let frame = match self.ask(what, DeadlineSpec::Done).await {
                // The wait was lost, however often: go on if the node can be reached again.
                Err(error) if is_lost(error.kind()) => {
                    self.status().await?;
                    continue;
                }
                answered => answered?,
            };
            let outcome = match frame.kind {
                FrameKind::Body | FrameKind::Fault => Ok(frame),
                FrameKind::JobReport => {
                    match JobReport::read(&frame.body).map_err(undecoded)?.error {
                        Some(error) => Err(error.weighed()),
                        None => continue,
                    }
                }
                other => return Err(not_asked_for(other)),
            };
            /// How long a caller that has the result waits until its node knows that.
            const PATIENCE: Duration = Duration::from_secs(5);
            let collected = JobRequest::Collected(self.id.number());
            // If this fails, the node keeps the result for longer than it has to.
            let _ = self.ask(collected, DeadlineSpec::After(PATIENCE)).await;
            return outcome;
        }
    }
}

/// Returns whether the connection was lost that carried a request.
fn is_lost(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionLost | ErrorKind::NodeLost | ErrorKind::Draining)
}

/// Returns the error of a request about a job. Whatever has happened to the request, the job may
/// have run.
fn at_least_maybe(error: Error) -> Error {
    let executed = error.executed().or(Executed::Maybe);
    error.with_executed(executed)
}

fn undecoded(cause: Malformed) -> Error {
    let text = format!("cannot decode the answer about a job: {cause}");
    at_least_maybe(Error::new(ErrorKind::Protocol, text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kind::Kind;

    #[test]
    fn a_job_is_taken_for_one_of_its_function_only() {
        let of = |descriptor| JobTypes { descriptor: Some(descriptor), ..JobTypes::json() };
        let method = of(Descriptor::new("ai.Model.fit", Kind::Unary, "", 0).method_of("ai.Model"));
        for name in ["ai.Model.fit", "ai.Model:small.fit", "ai.Model:v1/x.fit"] {
            assert!(method.is_called(name), "{name}");
        }
        for name in ["ai.Model.fits", "ai.Model:small.embed", "ai.Model:", "fit", "ai.Models:a.fit"]
        {
            assert!(!method.is_called(name), "{name}");
        }
        let function = of(Descriptor::new("train", Kind::Unary, "", 0));
        assert!(function.is_called("train") && !function.is_called("train:x"));
        assert!(JobTypes::json().is_called("anything"));
    }
}
