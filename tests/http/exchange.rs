//! HTTP as it is on the wire, so that a test can write any request, and sees the whole answer.

use std::io;
use std::net::SocketAddr;

use common::soon;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
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

/// Makes a `POST` with a body.
pub(crate) async fn post(at: SocketAddr, path: &str, headers: &[&str], body: &str) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: {at}\r\n{headers}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    send(at, text.as_bytes()).await.unwrap()
}

/// An answer that is read while it is made, and a request that is written meanwhile. Dropping it
/// closes the connection.
pub(crate) struct Live {
    stream: BufReader<TcpStream>,
    pub(crate) status: u16,
    /// Of the body, not returned yet.
    text: Vec<u8>,
}

impl Live {
    /// Sends the bytes of a request, or the first of them, and reads the header of the answer.
    pub(crate) async fn open(at: SocketAddr, request: &str) -> Self {
        let mut live = Self::begin(at, request).await;
        live.head().await;
        live
    }

    /// Sends the bytes of a request, or the first of them.
    pub(crate) async fn begin(at: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream: BufReader::new(stream), status: 0, text: Vec::new() }
    }

    /// Reads the header of the answer.
    pub(crate) async fn head(&mut self) {
        let mut first = String::new();
        soon(self.stream.read_line(&mut first)).await.unwrap();
        self.status = first.split(' ').nth(1).unwrap().parse().unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            soon(self.stream.read_line(&mut line)).await.unwrap();
        }
    }

    /// Sends a chunk of the request's body.
    pub(crate) async fn chunk(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        soon(self.stream.write_all(chunk.as_bytes())).await.unwrap();
    }

    /// Returns the next line of a chunked body; `None` at its end.
    ///
    /// # Errors
    /// If the body is cut off.
    pub(crate) async fn line(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.text.iter().position(|byte| *byte == b'\n') {
                let line = self.text.drain(..=at).collect();
                return Ok(Some(String::from_utf8(line).unwrap().trim_end().to_owned()));
            }
            let mut size = String::new();
            soon(self.stream.read_line(&mut size)).await?;
            let size = usize::from_str_radix(size.trim(), 16);
            let size = size.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
            let mut chunk = vec![0; size + 2];
            soon(self.stream.read_exact(&mut chunk)).await?;
            if size == 0 {
                return Ok(None);
            }
            self.text.extend_from_slice(&chunk[..size]);
        }
    }

    pub(crate) async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await.unwrap().unwrap()).unwrap()
    }
}
