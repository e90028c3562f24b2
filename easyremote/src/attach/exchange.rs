//! One request to the local server, on a connection of its own.
//!
//! A connection serves one request, so that dropping it ends the request at the server, no request is
//! sent into a connection that the server is about to close, and nothing that a server sends too
//! much can be taken for the answer to another caller.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderName, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::attach::allowed::AllowedRequests;
use crate::attach::origin::ServerOrigin;
use crate::error::Error;
use crate::function::forward::{
    AnswerHead, AnswerPart, ForwardCause, ForwardFailure, RequestHead, headers, target,
};
use crate::transport::auth::https_dialler::HttpsDialler;

/// Forwards requests to one server; the state of the node.
#[derive(Debug)]
pub(super) struct Forwarder {
    pub(super) origin: ServerOrigin,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) tls: Option<HttpsDialler>,
    pub(super) allowed: AllowedRequests,
    /// Headers that each request has, whatever its caller sent.
    pub(super) own: Vec<(HeaderName, HeaderValue)>,
    pub(super) head_timeout: Duration,
    /// Notified when the server did not accept a connection.
    pub(super) unreachable: Notify,
}

/// The head of an answer, and the chunks of its body.
pub(super) type ForwardedAnswer = BoxStream<'static, Result<AnswerPart, ForwardFailure>>;

/// Time for the server to accept a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read ahead, and the longest head of one.
const READ_AHEAD: usize = 64 << 10;

/// A connection to the server, with TLS or without.
trait ServerStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ServerStream for T {}

impl Forwarder {
    /// Reads the files of authorities, and looks up the server's address.
    ///
    /// # Errors
    /// `InvalidInput` or `Unavailable`; the text says what is wrong.
    pub(super) async fn reach(
        origin: &ServerOrigin,
        authority: Option<&Path>,
    ) -> Result<(Vec<SocketAddr>, Option<HttpsDialler>), Error> {
        let tls =
            origin.is_https.then(|| HttpsDialler::new(&origin.host, authority)).transpose()?;
        Ok((origin.addresses().await?, tls))
    }

    /// Sends a request and returns its answer: the head, and the chunks of the body as they come.
    /// Dropping either ends the request at the server.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn forward(
        &self,
        head: RequestHead,
        body: impl Stream<Item = Bytes> + Send + Unpin + 'static,
    ) -> Result<ForwardedAnswer, ForwardFailure> {
        let (method, target) = (&*head.method, &*head.target);
        let malformed = |text| ForwardFailure::new(ForwardCause::Malformed, text);
        target::check(method, target).map_err(malformed)?;
        if !self.allowed.contain(method, target::path(target)) {
            let text = format!(
                "`{method} {}` is not among the requests that this server takes; the node can allow \
                 it with `--allow`",
                target::path(target)
            );
            return Err(ForwardFailure::new(ForwardCause::NotAllowed, text));
        }
        let request = self.request(head, body).map_err(malformed)?;
        let stream = self.connect().await?;
        let (connection, response) = self.exchange(stream, request).await?;
        let (head, body) = answer(response)?;
        let first = stream::iter([Ok(AnswerPart::Head(head))]);
        let chunks = stream::unfold(Some((body, connection)), |open| async move {
            let (mut body, connection) = open?;
            match next_chunk(&mut body).await? {
                Ok(chunk) => Some((Ok(AnswerPart::Body(chunk)), Some((body, connection)))),
                Err(error) => {
                    let text = format!("the answer of the server has broken off: {error}");
                    Some((Err(ForwardFailure::new(ForwardCause::BrokenOff, text)), None))
                }
            }
        });
        Ok(first.chain(chunks).boxed())
    }

    fn request<S>(&self, head: RequestHead, body: S) -> Result<Request<ForwardedBody<S>>, String> {
        let body = ForwardedBody { chunks: body, left: head.length };
        let mut request = Request::new(body);
        *request.method_mut() = head.method.parse().map_err(|_| "the method is invalid")?;
        *request.uri_mut() = head.target.parse().map_err(|_| "the path is invalid")?;
        let forwarded = headers::inward(head.headers)?;
        let all = request.headers_mut();
        for (name, value) in forwarded {
            let name = HeaderName::try_from(name).map_err(|_| "a header has an invalid name")?;
            let value =
                HeaderValue::try_from(value).map_err(|_| "a header has an invalid value")?;
            all.append(name, value);
        }
        for (name, value) in &self.own {
            all.insert(name.clone(), value.clone());
        }
        let host = HeaderValue::try_from(&self.origin.authority);
        all.insert(HOST, host.map_err(|_| "the host of the server is invalid")?);
        Ok(request)
    }

    async fn connect(&self) -> Result<Box<dyn ServerStream>, ForwardFailure> {
        let connected = timeout(CONNECT, async {
            let stream = TcpStream::connect(&*self.addresses).await?;
            stream.set_nodelay(true)?;
            Ok::<Box<dyn ServerStream>, io::Error>(match &self.tls {
                None => Box::new(stream),
                Some(tls) => Box::new(tls.dial(stream).await?),
            })
        });
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        connected.await.unwrap_or_else(late).map_err(|error| {
            self.unreachable.notify_one();
            let text = format!("the server behind this node cannot be reached: {error}");
            ForwardFailure::new(ForwardCause::Unreachable, text)
        })
    }

    /// Sends the request, and waits for the head of the answer.
    async fn exchange<S: Stream<Item = Bytes> + Send + Unpin + 'static>(
        &self,
        stream: Box<dyn ServerStream>,
        request: Request<ForwardedBody<S>>,
    ) -> Result<(AbortOnDropHandle<()>, Response<Incoming>), ForwardFailure> {
        let unanswered = |error: hyper::Error| {
            let text = format!("the server has not answered as HTTP/1.1 does: {error}");
            ForwardFailure::new(ForwardCause::Unanswered, text)
        };
        let handshake = http1::Builder::new()
            .max_headers(2 * headers::MAX_HEADERS)
            .max_buf_size(READ_AHEAD)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(unanswered)?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // The request's own future or body tells of the error.
            let _ = connection.await;
        }));
        match timeout(self.head_timeout, sender.send_request(request)).await {
            Ok(response) => Ok((connection, response.map_err(unanswered)?)),
            Err(_) => {
                let text = format!("the server has not answered within {:?}", self.head_timeout);
                Err(ForwardFailure::new(ForwardCause::Late, text))
            }
        }
    }
}

/// Splits an answer, if it may be passed on.
fn answer(response: Response<Incoming>) -> Result<(AnswerHead, Incoming), ForwardFailure> {
    let bad = |text| ForwardFailure::new(ForwardCause::BadAnswer, text);
    let (parts, body) = response.into_parts();
    let status = parts.status.as_u16();
    headers::check_status(status).map_err(bad)?;
    // A value that is no ASCII is none that a caller needs.
    let fields = parts.headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    });
    let headers = headers::outward(fields.collect()).map_err(bad)?;
    Ok((AnswerHead { status, headers }, body))
}

/// Returns the next chunk of a body; `None` at its end.
async fn next_chunk(body: &mut Incoming) -> Option<Result<Bytes, hyper::Error>> {
    loop {
        let frame =
            std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        match frame.map(Frame::into_data) {
            Ok(Ok(chunk)) if !chunk.is_empty() => return Some(Ok(chunk)),
            // Nothing that the caller sees: an empty chunk, or trailers.
            Ok(_) => {}
            Err(error) => return Some(Err(error)),
        }
    }
}

/// The body of a request: what the caller sends.
struct ForwardedBody<S> {
    chunks: S,
    /// Bytes that are still to come, if that is known.
    left: Option<u64>,
}

impl<S: Stream<Item = Bytes> + Unpin> Body for ForwardedBody<S> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let chunk = ready!(self.chunks.poll_next_unpin(context));
        let wrong = |text| Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::InvalidData, text))));
        let Some(left) = self.left else { return Poll::Ready(chunk.map(|it| Ok(Frame::data(it)))) };
        match chunk {
            None if left == 0 => Poll::Ready(None),
            None => wrong("the body is shorter than its length says"),
            Some(chunk) => match left.checked_sub(chunk.len() as u64) {
                None => wrong("the body is longer than its length says"),
                left => {
                    self.left = left;
                    Poll::Ready(Some(Ok(Frame::data(chunk))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
