//! One agent at the other end of a pair of byte streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rmcp::service::ServerInitializeError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::mcp::bridge::ToolServer;

/// Offers the functions that `client` may call, and that are marked with `#[remote(tool)]`, to one
/// agent: the "stdio" transport of MCP, with a message on each line of `input` and `output`.
///
/// Returns at the end of `input`. Calls that are under way then are cancelled after 100 ms. What the
/// agent sees is in [`easyremote::mcp`](crate::mcp).
///
/// ```no_run
/// use easyremote::Client;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// let client = Client::connect("127.0.0.1:8080").await?;
/// let (ours, agents) = tokio::io::duplex(64 << 10);
/// let (input, output) = tokio::io::split(ours);
/// easyremote::mcp::serve(client, input, output).await?;
/// # drop(agents);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Protocol`](ErrorKind::Protocol) if the first messages are not those of an agent, or `output`
/// cannot be written. Errors of calls go to the agent.
///
/// # Cancel safety
/// Dropping the future cancels the calls that are under way.
#[doc(alias = "stdio")]
#[doc(alias = "agent")]
pub async fn serve<R, W>(client: Client, input: R, output: W) -> Result<(), Error>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let gone = CancellationToken::new();
    let _left = gone.clone().drop_guard();
    let input = WatchedInput { input, ended: gone.clone() };
    let failed = |text: String| Error::new(ErrorKind::Protocol, text);
    let serving = match rmcp::serve_server(ToolServer::new(client, gone), (input, output)).await {
        Ok(serving) => serving,
        // It has gone before it has said anything.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(error) => return Err(failed(format!("the agent does not speak MCP: {error}"))),
    };
    match serving.waiting().await {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(format!("the agent cannot be served any more: {error}"))),
    }
}

/// Tells when the agent has closed its end, while calls are under way.
struct WatchedInput<R> {
    input: R,
    /// Cancelled at the end.
    ended: CancellationToken,
}

impl<R: AsyncRead + Unpin> AsyncRead for WatchedInput<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.input).poll_read(context, buffer));
        if read.is_err() || buffer.filled().len() == before {
            self.ended.cancel();
        }
        Poll::Ready(read)
    }
}
