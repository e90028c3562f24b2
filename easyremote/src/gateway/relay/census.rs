//! Asks nodes for all of their jobs, for those who look after the gateway.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::gateway::relay::dispatch::protocol;
use crate::gateway::relay::node_link::NodeLink;
use crate::gateway::routing::RoutedNode;
use crate::transport::quic::stream::halves;
use crate::wire::bytes::Malformed;
use crate::wire::codec::Codec;
use crate::wire::directory::JOBS;
use crate::wire::error::read_error;
use crate::wire::frame::{self, FrameBuffer, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::job::{JobOption, JobRequest};
use crate::wire::job_census::{CensusJob, read_census};
use crate::wire::kind::Kind;

/// Time for a node to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longest answer, in bytes: the most jobs that a node lists, each with the longest texts.
const MAX_ANSWER: usize = 1 << 20;

/// Counts a request about jobs at its node, until it is dropped.
struct CountedRequest<'a>(&'a RoutedNode<NodeLink>);

impl Drop for CountedRequest<'_> {
    fn drop(&mut self) {
        self.0.end_request();
    }
}

/// Returns the jobs of a node. The stream is served on the thread of the node.
///
/// # Errors
/// `Overloaded` if too many requests about jobs are under way there, `DeadlineExceeded` if it does
/// not answer in time, and what the node answers.
///
/// # Cancel safety
/// The request goes on, until the node has answered or its time is over.
pub(in crate::gateway) async fn jobs_at(
    node: Arc<RoutedNode<NodeLink>>,
) -> Result<Vec<CensusJob>, Error> {
    let runtime = node.handle().runtime().clone();
    let asking = runtime.spawn(async move {
        match timeout(PATIENCE, ask(&node)).await {
            Ok(answered) => answered,
            Err(_) => {
                let text = format!("node `{}` does not list its jobs in time", node.id());
                Err(Error::new(ErrorKind::DeadlineExceeded, text))
            }
        }
    });
    asking.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unavailable, "the gateway ends")))
}

async fn ask(node: &RoutedNode<NodeLink>) -> Result<Vec<CensusJob>, Error> {
    if !node.begin_request() {
        return Err(Error::new(ErrorKind::Overloaded, "too many requests about jobs"));
    }
    let _counted = CountedRequest(node);
    let link = node.handle();
    let lost = |_| Error::new(ErrorKind::NodeLost, format!("node `{}` was lost", node.id()));
    let stream = link.connection.open_bi().await.map_err(lost)?;
    let (mut send, mut recv) = halves(stream, &link.windows);
    let header = CallHeader {
        timeout: Some(PATIENCE),
        job: Some(Box::new(JobOption::Request(JobRequest::Census))),
        ..CallHeader::new([0; 16], JOBS, Kind::Unary, Codec::Json)
    };
    let mut request = Vec::with_capacity(64);
    header.put(&mut request).map_err(|_| protocol("the request is too long"))?;
    frame::put(&mut request, FrameKind::Body, b"[]");
    send.write(&request).await.map_err(|broken| broken.error(ErrorKind::NodeLost))?;
    send.finish();
    let mut buffer = FrameBuffer::new(MAX_ANSWER);
    let answer = recv.frame(&mut buffer).await;
    match answer.map_err(|error| error.error(ErrorKind::NodeLost))? {
        Some(frame) if frame.kind == FrameKind::Body => {
            read_census(&frame.body).map_err(Malformed::into_error)
        }
        Some(frame) if frame.kind == FrameKind::Error => {
            Err(read_error(&frame.body).unwrap_or_else(Malformed::into_error))
        }
        _ => Err(protocol("a node answered something else than a list of its jobs")),
    }
}
