//! HTTP as it is on the wire, so that a test can write any request, and sees the whole answer.

use std::io;
use std::net::SocketAddr;

use common::soon;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.map(str::trim)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Writes `request` on a connection, and reads until the server closes it.
pub(crate) async fn on<S>(mut stream: S, request: &[u8]) -> io::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // A server that refuses a request early closes the connection.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    // What came before a reset counts.
    let read = soon(stream.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        read?;
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Ok(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// Sends the bytes of one request.
pub(crate) async fn send(at: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    on(TcpStream::connect(at).await?, request).await
}

/// Makes a request with these headers, and `Host` as it should be.
pub(crate) async fn get(at: SocketAddr, path: &str, headers: &[&str]) -> Answer {
    request(at, "GET", path, &[&[&*format!("Host: {at}")], headers].concat()).await
}

/// Makes a request with these headers and no other.
pub(crate) async fn request(at: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let text = format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
    send(at, text.as_bytes()).await.unwrap()
}
