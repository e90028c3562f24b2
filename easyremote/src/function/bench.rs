//! Access to the encoding of arguments and results, for the benchmark of the codec.

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

/// The default limits of a role.
const LIMITS: MessageLimits =
    MessageLimits { max_message: MAX_MESSAGE, max_decoded: DEFAULT_MAX_DECODED };

/// The encoding of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The encoding of stubs.
    Bincode,
    /// The encoding of calls by name.
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
    /// As at a node: `TooLarge` or `BadResponse`.
    pub fn encode<T: Value>(self, value: &T) -> Result<Vec<u8>, Error> {
        let (mut reply, form) = (Vec::new(), (self.codec(), LIMITS));
        put_value(&mut reply, FrameKind::Body, form, ValueType::of::<T>(), value)?;
        Ok(reply)
    }

    /// Encodes the arguments of a call with one argument, for [`decode`](Self::decode).
    ///
    /// # Errors
    /// The error of `Serialize`.
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

    /// Decodes arguments as a node does before it runs the function.
    ///
    /// # Errors
    /// Why they cannot be decoded.
    pub fn decode<T: Argument>(self, body: &Bytes) -> Result<T, String> {
        let types = <(T,)>::schemas();
        let mut budget = Budget::for_message(body.len(), DEFAULT_MAX_DECODED);
        let decoded = arguments::decode(self.codec(), body, &["value"], &types.0, &mut budget);
        decoded.map(|(value,)| value)
    }
}
