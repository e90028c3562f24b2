//! Jobs by name, with JSON results.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde_json::Value;

use crate::client::handle::Client;
use crate::client::job::{JobTypes, RawJob};
use crate::client::json::{JsonCall, JsonError, json_result};
use crate::client::spawn::RawSpawn;
use crate::error::{CallError, Error};
use crate::wire::job::{JobId, JobStatus};

impl JsonCall {
    /// Runs the call as a job, as [`Call::spawn`](crate::Call::spawn) does.
    ///
    /// ```
    /// # use easyremote::{Client, Gateway, Node, functions, remote};
    /// # use serde_json::json;
    /// # #[remote]
    /// # fn add(a: i64, b: i64) -> i64 { a + b }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
    /// # let client = Client::connect(gateway.local_addr()).await?;
    /// let job = client.call_json("add", json!([1, 2])).spawn().await?;
    /// assert_eq!(job.result().await.unwrap(), json!(3));
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "background")]
    pub fn spawn(self) -> JsonSpawn {
        JsonSpawn { raw: RawSpawn::new(self.raw, JobTypes::json()) }
    }
}

/// A call by name on its way to becoming a job: a future of the [`JsonJob`]. Returned by
/// [`JsonCall::spawn`].
///
/// ```
/// # use easyremote::Client;
/// # use serde_json::json;
/// # async fn example(client: Client) -> Result<(), easyremote::Error> {
/// let job = client.call_json("train", json!([3])).spawn().await?;
/// println!("{}", job.id());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`Spawn`](crate::client::Spawn).
///
/// # Cancel safety
/// As for [`Spawn`](crate::client::Spawn).
#[derive(Debug)]
#[must_use = "a call does nothing until it is awaited"]
pub struct JsonSpawn {
    raw: RawSpawn,
}

impl Future for JsonSpawn {
    type Output = Result<JsonJob, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.raw.poll(context).map_ok(|raw| JsonJob { raw })
    }
}

/// A [`Job`](crate::client::Job) that was spawned by name. Returned by [`JsonCall::spawn`] and
/// [`Client::job_json`].
///
/// ```
/// # use easyremote::Client;
/// # use serde_json::json;
/// # async fn example(client: Client) -> Result<(), easyremote::Error> {
/// let job = client.call_json("train", json!([3])).spawn().await?;
/// println!("{:?}", job.status().await?.state);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As for [`Job`](crate::client::Job), and [`InvalidInput`](crate::ErrorKind::InvalidInput) for the
/// result of a job that was not spawned by name.
#[derive(Clone, Debug)]
pub struct JsonJob {
    pub(super) raw: RawJob,
}

impl JsonJob {
    /// Returns the id of the job, with which [`Client::job_json`] finds it again.
    ///
    /// ```
    /// # use easyremote::Client;
    /// # use serde_json::json;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let job = client.call_json("train", json!([3])).spawn().await?;
    /// println!("{}", job.id());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.raw.id
    }

    /// Asks what the job does now; see [`Job::status`](crate::client::Job::status).
    ///
    /// ```
    /// # use easyremote::client::JsonJob;
    /// # async fn example(job: JsonJob) -> Result<(), easyremote::Error> {
    /// println!("{:?}", job.status().await?.progress);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`JsonJob`].
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request and nothing else.
    pub async fn status(&self) -> Result<JobStatus, Error> {
        self.raw.status().await
    }

    /// Waits for the end of the job, and returns its result as JSON; see
    /// [`Job::result`](crate::client::Job::result).
    ///
    /// ```
    /// # use easyremote::client::JsonJob;
    /// # async fn example(job: JsonJob) {
    /// match job.result().await {
    ///     Ok(result) => println!("{result}"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`JsonJob`]; the function's own error as [`CallError::Function`].
    ///
    /// # Cancel safety
    /// Dropping the future ends the wait and nothing else.
    pub async fn result(&self) -> Result<Value, CallError<JsonError>> {
        let frame = self.raw.result().await?;
        json_result(&frame, self.raw.client.link.limits.max_decoded)
    }

    /// Cancels the job; see [`Job::cancel`](crate::client::Job::cancel).
    ///
    /// ```
    /// # use easyremote::client::JsonJob;
    /// # async fn example(job: JsonJob) -> Result<(), easyremote::Error> {
    /// job.cancel().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`JsonJob`].
    ///
    /// # Cancel safety
    /// Once it has been polled, the job may be cancelled, even if the future is dropped then.
    pub async fn cancel(&self) -> Result<(), Error> {
        self.raw.cancel().await
    }
}

impl Client {
    /// Returns a handle of a job that was spawned by name. Does no I/O.
    ///
    /// The status of any job can be asked for like this, for which this program needs no definition
    /// of its function.
    ///
    /// ```
    /// # use easyremote::Client;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// for job in client.jobs().await? {
    ///     client.job_json(&job.id).cancel().await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn job_json(&self, id: &JobId) -> JsonJob {
        JsonJob { raw: RawJob::new(self, id.clone(), JobTypes::json()) }
    }
}
