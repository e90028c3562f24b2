//! Bodies of requests, read within limits.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::gauge::MemoryCharge;
use crate::http::problem::Problem;

/// Time for a whole body to arrive, and for the first line of one that is read line by line.
const WHOLE: Duration = Duration::from_secs(60);

/// Bodies of the largest size that are held at a time, by all requests together.
const BODIES_AT_ONCE: u64 = 16;

/// What the bodies of all requests may hold.
#[derive(Clone, Debug)]
pub(super) struct BodyLimits {
    /// Largest body, and largest line of one that is read line by line, in bytes.
    max: usize,
    held: Arc<AtomicU64>,
}

impl BodyLimits {
    pub(super) fn new(max: usize) -> Self {
        Self { max, held: Arc::default() }
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct RequestBody {
    chunks: BodyDataStream,
    /// What has arrived and was not returned yet.
    buffer: BytesMut,
    /// The part of the buffer that is known to have no line break.
    searched: usize,
    charge: MemoryCharge,
    max: usize,
}

impl RequestBody {
    pub(super) fn new(body: Body, limits: &BodyLimits) -> Self {
        let charge = MemoryCharge::new(&limits.held, limits.max as u64 * BODIES_AT_ONCE);
        let (chunks, buffer) = (body.into_data_stream(), BytesMut::new());
        Self { chunks, buffer, searched: 0, charge, max: limits.max }
    }

    /// Returns the whole body, and what charges it to the memory for bodies.
    ///
    /// # Errors
    /// If it is cut off, too large or too slow, or the memory for bodies is used up.
    pub(super) async fn held(mut self) -> Result<(Bytes, MemoryCharge), Problem> {
        let read = async {
            while self.more().await? {}
            Ok(())
        };
        timeout(WHOLE, read).await.unwrap_or_else(|_| Err(too_slow()))?;
        Ok((self.buffer.freeze(), self.charge))
    }

    /// Charges `bytes` more to the memory for bodies.
    ///
    /// # Errors
    /// `Overloaded` if it is used up.
    pub(super) fn charge_of(&self, bytes: usize) -> Result<MemoryCharge, Problem> {
        let mut charge = self.charge.another();
        if charge.set_to(bytes) { Ok(charge) } else { Err(no_room()) }
    }

    /// Returns the first line that is not empty, without its line break; `None` if there is none.
    ///
    /// # Errors
    /// As for [`held`](Self::held).
    pub(super) async fn first_line(&mut self) -> Result<Option<Bytes>, Problem> {
        timeout(WHOLE, self.line()).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Returns the next line that is not empty, without its line break; `None` at the end. Cancel
    /// safe.
    ///
    /// # Errors
    /// As for [`held`](Self::held); lines may come as slowly as they do.
    pub(super) async fn line(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let unseen = &self.buffer[self.searched..];
            let line = match unseen.iter().position(|byte| *byte == b'\n') {
                Some(at) => self.buffer.split_to(self.searched + at + 1).freeze(),
                None => {
                    self.searched = self.buffer.len();
                    if self.more().await? {
                        continue;
                    }
                    std::mem::take(&mut self.buffer).freeze()
                }
            };
            self.searched = 0;
            let text = line.trim_ascii();
            if !text.is_empty() {
                return Ok(Some(line.slice_ref(text)));
            }
            if self.buffer.is_empty() && line.last() != Some(&b'\n') {
                return Ok(None);
            }
        }
    }

    /// Waits for more of the body. Returns whether there is more. Cancel safe.
    async fn more(&mut self) -> Result<bool, Problem> {
        let Some(chunk) = self.chunks.next().await else { return Ok(false) };
        let chunk = chunk.map_err(|error| {
            let text = "the body of the request has ended early";
            Problem::from(Error::new(ErrorKind::BadArguments, text).with_source(error))
        })?;
        let length = self.buffer.len() + chunk.len();
        if length > self.max {
            let text = format!(
                "the body, or a line of it, is larger than {} bytes; send it in pieces, or raise \
                 `HttpOptions::max_body`",
                self.max
            );
            return Err(Error::new(ErrorKind::TooLarge, text).into());
        }
        if !self.charge.set_to(length) {
            return Err(no_room());
        }
        self.buffer.extend_from_slice(&chunk);
        Ok(true)
    }
}

fn no_room() -> Problem {
    let text = "the memory for the bodies of requests is used up";
    let after = Duration::from_millis(500);
    Error::new(ErrorKind::Overloaded, text).with_retry_after(after).into()
}

fn too_slow() -> Problem {
    let text = format!("the body has not arrived within {} s", WHOLE.as_secs());
    Error::new(ErrorKind::DeadlineExceeded, text).into()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;

    use super::*;

    fn body(chunks: Vec<Bytes>, max: usize) -> RequestBody {
        let chunks = stream::iter(chunks.into_iter().map(Ok::<_, Infallible>));
        RequestBody::new(Body::from_stream(chunks), &BodyLimits::new(max))
    }

    #[tokio::test]
    async fn lines_are_the_same_however_the_body_is_cut() {
        let text = "[1]\n\r\n  \n{\"a\": 2}\r\n3\n\n\"four\"";
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        for size in 1..=text.len() {
            for end in ["", "\n", "\r\n\n"] {
                let bytes = Bytes::from(format!("{text}{end}"));
                let chunks = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
                let mut body = body(chunks, 100);
                let mut found = Vec::new();
                while let Some(line) = body.line().await.unwrap() {
                    found.push(String::from_utf8(line.to_vec()).unwrap());
                }
                assert_eq!(found, lines, "{size} {end:?}");
                assert!(body.line().await.unwrap().is_none());
            }
        }
    }

    #[tokio::test]
    async fn what_is_larger_than_the_limit_is_refused() {
        for (size, fits) in [(100, true), (101, false)] {
            let chunks = || vec![Bytes::from(vec![b'1'; size / 2]); 2 + size % 2 * size];
            let whole = body(chunks(), 100).held().await;
            assert_eq!(whole.is_ok(), fits, "{size}");
            assert_eq!(body(chunks(), 100).line().await.is_ok(), fits, "{size}");
        }
    }

    #[tokio::test]
    async fn all_bodies_share_their_memory_and_give_it_back() {
        let limits = BodyLimits::new(10);
        let mut held = Vec::new();
        for n in 0..BODIES_AT_ONCE + 1 {
            let mut body = RequestBody::new(Body::from(vec![b'1'; 10]), &limits);
            assert_eq!(body.more().await.is_ok(), n < BODIES_AT_ONCE, "{n}");
            held.push(body);
        }
        drop(held);
        let mut body = RequestBody::new(Body::from("1"), &limits);
        assert!(body.more().await.unwrap());
    }
}
