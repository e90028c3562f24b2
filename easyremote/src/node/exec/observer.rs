//! Telling middleware how a call ended.

use tokio::sync::oneshot;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::context::Context;
use crate::function::end::End;
use crate::function::handler::Reply;
use crate::node::middleware::Done;

/// Tells the middleware that waits in `next.run` how its call ended.
#[derive(Debug)]
pub(super) struct Observer {
    context: Context,
    done: oneshot::Sender<Done>,
}

impl Observer {
    /// An observer of the call of `context`, and what it sends when the call ends.
    pub(super) fn new(context: Context) -> (Self, oneshot::Receiver<Done>) {
        let (done, ended) = oneshot::channel();
        (Self { context, done }, ended)
    }

    /// Tells how a call ended.
    pub(super) fn tell(self, ended: Result<&Reply, &Error>) {
        let done = match ended {
            Err(error) => self.done_with(End::Error(error.clone())),
            // The items of a stream are gone already; their writer has noted the end in the
            // context.
            Ok(reply) if reply.is_empty() => {
                let end = self.context.tally().end().unwrap_or_else(|| End::Error(left()));
                self.done_with(end)
            }
            Ok(reply) => {
                let (end, bytes) = End::of_frames(reply);
                Done { end, items: 0, bytes }
            }
        };
        // Fails if a layer has dropped the future of `run`.
        let _ = self.done.send(done);
    }

    fn done_with(&self, end: End) -> Done {
        let (items, bytes) = self.context.tally().so_far();
        Done { end, items, bytes }
    }
}

/// Returns the error of a call whose caller has left.
pub(super) fn left() -> Error {
    let text = "the caller has left before the call ended";
    Error::new(ErrorKind::Cancelled, text).with_evidence(Evidence::Sent)
}
