//! Receives the stream that a caller sends to a function.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::error::Error;
use crate::node::exec::call_guards::Interrupt;
use crate::transport::byte_channel::ByteSender;
use crate::transport::quic::reset;
use crate::transport::quic::stream::RecvHalf;

/// Receives the caller's stream and forwards it to the function. Resolves only if the caller
/// leaves, or if `failing` reports an error of the decoder; after a proper end it stays pending.
pub(super) async fn receive(
    mut recv: RecvHalf,
    first: Bytes,
    mut sender: ByteSender<()>,
    failing: oneshot::Receiver<Error>,
) -> Interrupt {
    let moved = async {
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
