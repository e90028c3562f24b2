//! Calls between two versions of a function's types: `#[remote(skew = ..)]` at the caller.
//!
//! ```text
//!   typed call --SignatureMismatch, No--> the same call, by name --> answer
//!        ^                                     ^
//!        | nothing remembered                  | the function has differed within `MEMORY`,
//!        |                                     | or the call sends a stream
//!        +-------------- first poll -----------+
//! ```
//!
//! A mismatch proves that nothing has run, so that the second attempt is allowed for every function.
//! It keeps the fingerprint of the caller's types: a gateway prefers nodes that have them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::client::answer_form::{AnswerForm, StreamForm};
use crate::client::pending_call::PendingCall;
use crate::error::{Error, ErrorKind};
use crate::function::descriptor::Descriptor;
use crate::function::named_list;
use crate::function::remote::Remote;
use crate::function::signature::Signature;
use crate::wire::codec::Codec;
use crate::wire::frame::{self, FRAME_HEADER, FrameKind};
use crate::wire::header::CallHeader;
use crate::wire::operators::applied_in;

/// How a call can be made by name.
#[derive(Clone, Debug)]
pub(super) struct SkewedCall {
    signature: &'static Signature,
    parameters: &'static [&'static str],
    /// The codec of calls by name.
    codec: Codec,
    /// Whether it is to wait for a node. Only the call by name does: the first attempt finds out
    /// whether there is a node with other types.
    pub(super) waits: bool,
    /// Whether it is made by name; what reads its stream looks at it.
    by_name: Arc<AtomicBool>,
}

impl SkewedCall {
    /// Returns how a call of `F` can be made by name, if the function says that it can.
    pub(super) fn of<F: Remote>() -> Option<Box<Self>> {
        let Descriptor { parameters, skew, .. } = F::DESCRIPTOR;
        Some(Box::new(Self {
            signature: F::signature(),
            parameters,
            codec: skew?.codec(),
            waits: false,
            by_name: Arc::default(),
        }))
    }

    /// Returns the same for another call of the function.
    pub(super) fn again(&self) -> Self {
        Self { by_name: Arc::default(), ..self.clone() }
    }

    /// Changes a request, whose arguments are encoded by position, into one by name.
    ///
    /// # Errors
    /// `InvalidInput` if an argument cannot be written by name, `TooLarge` if the arguments exceed the
    /// limit of messages.
    pub(super) fn rewrite(
        &self,
        header: &mut CallHeader,
        body: &mut Vec<u8>,
        (max_message, max_decoded): (usize, usize),
    ) -> Result<(), Error> {
        let typed = &body[FRAME_HEADER..];
        let named = named_list::write(self.signature, self.parameters, typed, max_decoded);
        let named = named.map_err(|text| {
            let function = &header.function;
            let text = format!("the arguments of `{function}` cannot be sent by name: {text}");
            Error::new(ErrorKind::InvalidInput, text)
        })?;
        if named.len() > max_message {
            let (function, length) = (&header.function, named.len());
            let text = format!(
                "the arguments of `{function}` are {length} bytes long by name, and the limit for \
                 one message is {max_message}"
            );
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        body.clear();
        frame::put(body, FrameKind::Body, &named);
        header.codec = self.codec;
        self.by_name.store(true, Ordering::Release);
        Ok(())
    }
}

impl PendingCall {
    /// Decides how the first attempt is made, as part of the first poll.
    ///
    /// # Errors
    /// As for [`SkewedCall::rewrite`].
    pub(super) fn prepare_skew(&mut self) -> Result<(), Error> {
        let Some(skew) = &mut self.skew else { return Ok(()) };
        // What an operator takes is written by position.
        if applied_in(&self.header.operators).next().is_some() {
            self.skew = None;
            return Ok(());
        }
        let link = &self.client.link;
        let limits = (link.limits.max_message, link.limits.max_decoded);
        let remembered = link.mismatches.contains(&self.header.function, self.header.fingerprint);
        // What a client stream has sent is gone, so that there is one attempt.
        if remembered || self.header.kind.takes_stream() {
            skew.rewrite(&mut self.header, &mut self.body, limits)?;
            if let Some((upload, _)) = &mut self.upload {
                upload.send_by_name();
            }
            return Ok(());
        }
        skew.waits = std::mem::take(&mut self.header.routing.wait) || self.waits;
        self.waits = false;
        Ok(())
    }

    /// Returns how the items of the call's stream are read.
    pub(super) fn stream_form(&self) -> StreamForm {
        let Some(skew) = &self.skew else { return StreamForm::TYPED };
        let form = AnswerForm::new(skew.codec, &self.client.link.tally().left_out);
        StreamForm::new(skew.by_name.clone(), form)
    }
}
