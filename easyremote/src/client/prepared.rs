//! A call that is ready to be sent, and the options that can still be set on it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::Stream;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::Client;
use crate::client::upload::Upload;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::Arguments;
use crate::function::remote::Remote;
use crate::function::upload::Uploaded;
use crate::transport::handover::Taker;
use crate::wire::codec::Codec;
use crate::wire::frame::{self, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::kind::Kind;
use crate::wire::limits::{MAX_NAME, MAX_TIMEOUT};

/// A call before its first poll.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) header: CallHeader,
    /// The arguments, as a `Body` frame.
    pub(super) body: Vec<u8>,
    /// The caller's types, for people.
    pub(super) signature: &'static str,
    pub(super) until: Until,
    /// The caller's stream, and where its frames come out.
    pub(super) upload: Option<(Upload, Taker<()>)>,
}

/// When a call's time is over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Never.
    Done,
    /// So long after the first poll.
    After(Duration),
    /// At this time.
    At(Instant),
}

impl Until {
    /// The deadline of a call that is first polled now.
    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Self::Done => None,
            Self::After(timeout) => Some(Instant::now() + timeout.min(MAX_TIMEOUT)),
            Self::At(deadline) => Some(deadline),
        }
    }
}

impl Prepared {
    /// A call of a function whose types are known.
    pub(super) fn typed<F: Remote>(
        client: &Client,
        arguments: &F::Arguments,
    ) -> Result<Self, Error> {
        let descriptor = F::DESCRIPTOR;
        let body = body(client, descriptor.name, |out| arguments.encode(out))?;
        let signature = F::signature();
        let header = CallHeader {
            fingerprint: signature.fingerprint,
            ..header(client, descriptor.name.to_owned(), descriptor.kind, Codec::Bincode)
        };
        let until = descriptor.timeout.map_or(Until::Done, Until::After);
        let (client, signature) = (client.clone(), &signature.text);
        Ok(Self { client, header, body, signature, until, upload: None }.with_options())
    }

    /// A call by name.
    pub(super) fn json(
        client: &Client,
        function: String,
        kind: Kind,
        arguments: &Value,
    ) -> Result<Self, Error> {
        if function.len() > MAX_NAME {
            let text = format!("a function's name has at most {MAX_NAME} bytes");
            return Err(Error::new(ErrorKind::NoSuchFunction, text));
        }
        let body = body(client, &function, |out| Codec::Json.encode(arguments, out))?;
        let header = header(client, function, kind, Codec::Json);
        let (client, until) = (client.clone(), Until::Done);
        Ok(Self { client, header, body, signature: "", until, upload: None }.with_options())
    }

    /// Sets what holds for all calls of the handle.
    fn with_options(mut self) -> Self {
        let options = self.client.options.clone();
        options.apply(&mut self);
        self
    }

    /// Adds the caller's stream.
    pub(super) fn with_upload<S>(mut self, stream: S) -> Self
    where
        S: Stream<Item: Uploaded> + Send + 'static,
    {
        self.upload = Some(Upload::new(stream, self.client.shared.max_message));
        self
    }
}

fn header(client: &Client, function: String, kind: Kind, codec: Codec) -> CallHeader {
    let shared = &client.shared;
    let mut id = [0; 16];
    id[..8].copy_from_slice(&shared.id);
    id[8..].copy_from_slice(&shared.next.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    CallHeader {
        id,
        attempt: 0,
        kind,
        codec,
        fingerprint: 0,
        timeout: None,
        function,
        on: None,
        tags: Vec::new(),
        wait: false,
        metadata: Vec::new(),
    }
}

fn body(
    client: &Client,
    function: &str,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), String>,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    let start = frame::begin(&mut out, FrameKind::Body);
    encode(&mut out).map_err(|text| {
        let text = format!("the arguments of `{function}` cannot be encoded: {text}");
        Error::new(ErrorKind::BadArguments, text)
    })?;
    let max = client.shared.max_message;
    frame::finish(&mut out, start, max).map_err(|length| {
        let text = format!(
            "the arguments of `{function}` have {length} bytes, and a message may have {max}"
        );
        Error::new(ErrorKind::TooLarge, text)
    })?;
    Ok(out)
}

/// Gives a call type its options. The type has a method `prepared(&mut self) -> Option<&mut
/// Prepared>`, which gives nothing after the first poll or if the call is doomed anyway.
macro_rules! options {
    ($($head:tt)*) => {
        $($head)* {
            /// Ends the call with [`ErrorKind::DeadlineExceeded`](crate::ErrorKind) if it is not
            /// over so long after the first poll. The node is told, and stops too.
            ///
            /// Unlimited unless set here or by `#[remote(timeout = "..")]`.
            pub fn timeout(mut self, timeout: std::time::Duration) -> Self {
                self.set(|prepared| {
                    prepared.until = $crate::client::prepared::Until::After(timeout);
                });
                self
            }

            /// Ends the call with [`ErrorKind::DeadlineExceeded`](crate::ErrorKind) if it is not
            /// over at `deadline`. The node is told, and stops too.
            pub fn deadline(mut self, deadline: std::time::Instant) -> Self {
                self.set(|prepared| {
                    prepared.until = $crate::client::prepared::Until::At(deadline.into());
                });
                self
            }

            /// Lets only the node with this id run the call.
            pub fn on(mut self, node: impl Into<String>) -> Self {
                self.set(|prepared| prepared.header.on = Some(node.into()));
                self
            }

            /// Gives the function a word beside its arguments, which it finds with
            /// [`Context::metadata`](crate::Context::metadata). At most 64 of them, with keys of
            /// at most 128 bytes, and 8 KiB in all.
            pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
                self.set(|prepared| prepared.header.metadata.push((key.into(), value.into())));
                self
            }

            /// Waits for a node if none can run the call now, until the deadline if there is one,
            /// instead of failing with [`ErrorKind::NoSuchFunction`](crate::ErrorKind) or
            /// [`ErrorKind::NoNode`](crate::ErrorKind).
            pub fn wait_for_node(mut self) -> Self {
                self.set(|prepared| prepared.header.wait = true);
                self
            }

            /// Lets only nodes with this tag run the call; may be given several times.
            pub fn tag(mut self, tag: impl Into<String>) -> Self {
                self.set(|prepared| prepared.header.tags.push(tag.into()));
                self
            }
        }
    };
}
pub(super) use options;
