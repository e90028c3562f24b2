//! What the bench of the codec sees of arguments and results.

use bytes::Bytes;

use crate::decode::Budget;
use crate::error::Error;
use crate::function::arguments::{self, Arguments};
use crate::function::item_writer::put_value;
use crate::function::outcome::{Argument, Value};
use crate::wire::codec::Codec;
use crate::wire::frame::FrameKind;
use crate::wire::limits::{DEFAULT_MAX_DECODED, MAX_MESSAGE, MessageLimits};
use crate::wire::value::ValueType;

/// Those of a role that sets none.
const LIMITS: MessageLimits =
    MessageLimits { max_message: MAX_MESSAGE, max_decoded: DEFAULT_MAX_DECODED };

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As stubs do.
    Bincode,
    /// As calls by name do.
    Json,
}

impl Format {
    fn codec(self) -> Codec {
        match self {
            Self::Bincode => Codec::Bincode,
            Self::Json => Codec::Json,
        }
    }

    /// Encodes a result into the frame that a node answers with.
    ///
    /// # Errors
    /// Those of a node.
    pub fn encode<T: Value>(self, value: &T) -> Result<Vec<u8>, Error> {
        let (mut reply, form) = (Vec::new(), (self.codec(), LIMITS));
        put_value(&mut reply, FrameKind::Body, form, ValueType::of::<T>(), value)?;
        Ok(reply)
    }

    /// The encoded arguments of a call with one argument, for [`decode`](Self::decode).
    ///
    /// # Errors
    /// What `Serialize` complained about.
    pub fn arguments<T: Argument + Clone>(self, value: &T) -> Result<Bytes, String> {
        let (mut body, arguments) = (Vec::new(), (value.clone(),));
        match self {
            Self::Bincode => {
                let types = <(T,)>::schemas();
                Arguments::encode(&arguments, &types.0, &mut body, DEFAULT_MAX_DECODED)?;
            }
            Self::Json => Codec::Json.encode(&arguments, &mut body)?,
        }
        Ok(body.into())
    }

    /// Decodes them as a node does before it runs the function.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode<T: Argument>(self, body: &Bytes) -> Result<T, String> {
        let types = <(T,)>::schemas();
        let mut budget = Budget::for_message(body.len(), DEFAULT_MAX_DECODED);
        let decoded = arguments::decode(self.codec(), body, &["value"], &types.0, &mut budget);
        decoded.map(|(value,)| value)
    }
}
