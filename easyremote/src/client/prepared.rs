//! A call that is ready to be sent, and the options that can still be set on it.

use futures::Stream;
use serde_json::Value;

use crate::client::Client;
use crate::client::options::{Options, Until};
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
use crate::wire::limits::MAX_NAME;

/// A call before its first poll.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) client: Client,
    pub(super) header: CallHeader,
    /// The arguments, as a `Body` frame.
    pub(super) body: Vec<u8>,
    /// The caller's types, for people.
    pub(super) signature: &'static str,
    pub(super) options: Options,
    /// Whether the function may run more than once.
    pub(super) idempotent: bool,
    /// The caller's stream, and where its frames come out.
    pub(super) upload: Option<(Upload, Taker<()>)>,
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
        let id = client.link.next_call_id();
        let (name, kind) = (descriptor.name.to_owned(), descriptor.kind);
        let header = CallHeader {
            fingerprint: signature.fingerprint,
            ..CallHeader::new(id, name, kind, Codec::Bincode)
        };
        let mut options = Options::clone(&client.options);
        if let (Until::Done, Some(timeout)) = (options.until, descriptor.timeout) {
            options.until = Until::After(timeout);
        }
        Ok(Self {
            client: client.clone(),
            header,
            body,
            signature: &signature.text,
            options,
            idempotent: descriptor.idempotent,
            upload: None,
        })
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
        Ok(Self {
            client: client.clone(),
            header: CallHeader::new(client.link.next_call_id(), function, kind, Codec::Json),
            body,
            signature: "",
            options: Options::clone(&client.options),
            idempotent: false,
            upload: None,
        })
    }

    /// Adds the caller's stream.
    pub(super) fn with_upload<S>(mut self, stream: S) -> Self
    where
        S: Stream<Item: Uploaded> + Send + 'static,
    {
        self.upload = Some(Upload::new(stream, self.client.link.max_message));
        self
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
    let max = client.link.max_message;
    frame::finish(&mut out, start, max).map_err(|length| {
        let text = format!(
            "the arguments of `{function}` have {length} bytes, and a message may have {max}"
        );
        Error::new(ErrorKind::TooLarge, text)
    })?;
    Ok(out)
}
