//! Receives what a caller sends after its arguments: the stream for the function, and how many items
//! the reader of the function's own stream has taken.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::oneshot;

use crate::call::demand::Demand;
use crate::call::executed::Evidence;
use crate::error::Error;
use crate::function::context::Context;
use crate::function::upload::RawUpload;
use crate::gauge::MemoryCharge;
use crate::node::exec::call_guards::Interrupt;
use crate::node::exec::taken::TakenParser;
use crate::node::state::NodeState;
use crate::transport::byte_channel::{ByteSender, Closed, byte_channel};
use crate::transport::quic::reset;
use crate::transport::quic::stream::RecvHalf;
use crate::wire::codec::Codec;
use crate::wire::limits::MessageLimits;

/// Bytes of a stream that may be buffered between the user's code and the I/O task.
pub(super) const CHANNEL_BYTES: usize = 96 << 10;

/// Creates the way of a client stream to its function: where its bytes go in, where the error of the
/// decoder comes out, and the function's end.
pub(super) fn upload_channel(
    node: &NodeState,
    limits: MessageLimits,
    codec: Codec,
) -> (ByteSender<()>, oneshot::Receiver<Error>, RawUpload) {
    let (sender, receiver) = byte_channel(CHANNEL_BYTES);
    let (failed, failing) = oneshot::channel();
    let room = MemoryCharge::new(&node.unfinished, node.max_unfinished);
    (sender, failing, RawUpload { codec, receiver, limits, room, failed })
}

/// Receives the caller's stream and forwards it to the function. Resolves only if the caller
/// leaves, or if `failing` reports an error of the decoder; after a proper end it stays pending.
///
/// With `taken`, what the reader has taken is between the items.
pub(super) async fn receive(
    mut recv: RecvHalf,
    first: Bytes,
    mut sender: ByteSender<()>,
    failing: oneshot::Receiver<Error>,
    taken: Option<TakenFrames>,
) -> Interrupt {
    let moved = async {
        if let Some(mut taken) = taken {
            return taken.receive(recv, first, Some(sender)).await;
        }
        let mut wanted = first.is_empty() || sender.send_chunks(&[first]).await.is_ok();
        while wanted {
            let read = tokio::select! {
                biased;
                () = sender.closed() => break,
                read = recv.read() => read,
            };
            match read {
                Ok(Some(chunks)) => wanted = sender.send_chunks(chunks.as_slice()).await.is_ok(),
                Ok(None) => {
                    sender.end(());
                    return std::future::pending().await;
                }
                Err(_) => return Interrupt::Gone,
            }
        }
        // The function has dropped its stream: stop the caller, and wait for the function's answer.
        recv.stop(reset::cancelled());
        std::future::pending().await
    };
    let failed = async {
        match failing.await {
            Ok(error) => Interrupt::Failed(error),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        // The error of the decoder is more precise than a stream that breaks afterwards.
        biased;
        interrupt = failed => interrupt,
        interrupt = moved => interrupt,
    }
}

/// Receives what the caller of a stream has taken, and passes on what is between it.
#[derive(Debug)]
pub(super) struct TakenFrames {
    parser: TakenParser,
    /// Knows how many items have been sent.
    context: Context,
}

impl TakenFrames {
    /// Creates the receiver of what the caller of `context` has taken. Notes it in `demand`.
    pub(super) fn new(demand: Arc<Demand>, context: Context, max_message: usize) -> Self {
        Self { parser: TakenParser::new(demand, max_message), context }
    }

    /// Receives everything that follows the arguments, `first` included, and forwards what is not a
    /// `Taken` frame. Without a `sender` such frames are an error. Resolves only if the caller
    /// leaves or breaks the protocol.
    pub(super) async fn receive(
        &mut self,
        mut recv: RecvHalf,
        first: Bytes,
        mut sender: Option<ByteSender<()>>,
    ) -> Interrupt {
        self.parser.takes_stream = sender.is_some();
        let mut next = Ok(Some(vec![first]));
        loop {
            let chunks = match next {
                Ok(Some(chunks)) => chunks,
                // The reader has gone, or its stream has ended and it takes nothing any more.
                Ok(None) => break,
                Err(_) => return Interrupt::Gone,
            };
            let (sent, _) = self.context.tally().so_far();
            let items = match self.parser.split(chunks, sent) {
                Ok(items) => items,
                Err(cause) => {
                    let error = cause.within("what follows the arguments").into_error();
                    return Interrupt::Failed(error.with_evidence(Evidence::Sent));
                }
            };
            if let Some(to) = sender.as_mut().filter(|_| !items.is_empty())
                && self.forward(to, &items).await.is_err()
            {
                // The function has dropped its stream. The caller cannot be stopped, because what
                // it takes follows: its further items are discarded.
                sender = None;
            }
            next = recv.read().await;
        }
        if let Some(sender) = &mut sender {
            sender.end(());
        }
        std::future::pending().await
    }

    /// Forwards items to the function. While it does not read them, they are in the way of what the
    /// caller has taken.
    async fn forward(&self, sender: &mut ByteSender<()>, items: &[Bytes]) -> Result<(), Closed> {
        let mut sending = pin!(sender.send_chunks(items));
        if let Some(sent) = sending.as_mut().now_or_never() {
            return sent;
        }
        self.parser.demand.set_behind(true);
        let sent = sending.await;
        self.parser.demand.set_behind(false);
        sent
    }
}
