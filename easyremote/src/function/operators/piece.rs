//! Items on their way through operators.

use crate::call::executed::Evidence;
use crate::decode::{Budget, DecodeCost};
use crate::error::{Error, ErrorKind};
use crate::function::outcome::Value;
use crate::wire::codec::{Codec, from_json, to_bincode, unwinding};
use crate::wire::limits::MessageLimits;
use crate::wire::value::ValueType;

/// What passes from one stage to the next.
#[derive(Debug)]
pub(crate) enum Flow<V, X> {
    /// An item.
    Item(Piece<V>),
    /// Something that no stage changes. It makes stages pass on what they hold, and follows it.
    After(After<X>),
}

/// What comes after everything that was produced before it.
#[derive(Debug)]
pub(crate) enum After<X> {
    /// An error of the function in place of an item.
    Fault(X),
    /// An error that ends the stream.
    Broken(Error),
    /// The end of the stream.
    End,
}

/// An item.
#[derive(Debug)]
pub(crate) enum Piece<V> {
    /// The function's value.
    Value(V),
    /// An encoded item: the value was compared, or is a list.
    Encoded(EncodedItem),
}

/// An encoded item, and what decoding it takes.
#[derive(Debug)]
pub(crate) struct EncodedItem {
    pub(crate) bytes: Vec<u8>,
    cost: DecodeCost,
    /// Size of the decoded value, in bytes, without what it points to.
    size: usize,
    codec: Codec,
    /// The type of its values, which are in lists, or in lists of lists.
    of: &'static ValueType,
    lists: u8,
}

/// How the items of a stream are encoded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemForm {
    pub(crate) codec: Codec,
    pub(crate) limits: MessageLimits,
    /// The type of the items.
    pub(crate) of: &'static ValueType,
}

impl<V: Value> Piece<V> {
    /// Encodes the item, unless that has been done.
    ///
    /// # Errors
    /// `BadResponse` if it cannot be encoded, `TooLarge` if it is longer than a message may be.
    pub(super) fn encode(self, form: &ItemForm) -> Result<EncodedItem, Error> {
        let value = match self {
            Self::Encoded(encoded) => return Ok(encoded),
            Self::Value(value) => value,
        };
        EncodedItem::of(&value, form)
    }

    /// Returns the bytes of memory that holding it takes, as far as they are known.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Value(_) => 0,
            Self::Encoded(encoded) => encoded.bytes.len(),
        }
    }
}

impl EncodedItem {
    /// Encodes an item of the function.
    ///
    /// # Errors
    /// As for [`Piece::encode`].
    pub(crate) fn of<V: Value>(value: &V, form: &ItemForm) -> Result<Self, Error> {
        let ItemForm { codec, limits, of } = *form;
        let (mut bytes, mut cost) = (Vec::new(), DecodeCost::default());
        match codec {
            Codec::Json => codec.encode(value, &mut bytes),
            Codec::Bincode => of.put(value, &mut bytes, &mut cost, limits.max_decoded),
            Codec::ByName | Codec::Lossy => {
                of.put_names(value, &mut bytes, &mut cost, limits.max_decoded)
            }
        }
        .map_err(unencodable)?;
        let encoded = Self { bytes, cost, size: size_of::<V>(), codec, of, lists: 0 };
        encoded.check(limits)?;
        Ok(encoded)
    }

    /// Decodes the item as a value of type `of`, whose fingerprint it has.
    ///
    /// # Errors
    /// `BadResponse` if it cannot be decoded.
    pub(crate) fn decode<T: Value>(
        &self,
        of: &ValueType,
        limits: MessageLimits,
    ) -> Result<T, Error> {
        let max_decoded = limits.max_decoded;
        let mut budget = Budget::for_message(self.bytes.len(), max_decoded);
        match (self.codec, self.lists) {
            (Codec::Json, _) => unwinding(|| from_json(&self.bytes, &mut budget)),
            (Codec::Bincode, 0) => of.decode(&self.bytes, max_decoded),
            (Codec::Bincode, depth) => self.of.decode_lists(&self.bytes, depth, max_decoded),
            // A function takes what has the form before the chain, which is never by name.
            (Codec::ByName | Codec::Lossy, _) => Err("it is written by name".to_owned()),
        }
        .map_err(|text| {
            let text = format!("an item of the function cannot be decoded: {text}");
            Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered)
        })
    }

    /// Checks that the reader will decode it.
    ///
    /// # Errors
    /// As for [`Piece::encode`].
    fn check(&self, limits: MessageLimits) -> Result<(), Error> {
        let (length, max) = (self.bytes.len(), limits.max_message);
        if length > max {
            let text = format!("an item has {length} bytes, and a message may have {max}");
            return Err(Error::new(ErrorKind::TooLarge, text).with_evidence(Evidence::Answered));
        }
        self.cost.check(length, limits.max_decoded).map_err(unencodable)
    }
}

/// Encoded items that will be sent as a list.
///
/// | codec   | the list                                                    |
/// |---------|-------------------------------------------------------------|
/// | others  | their number as a bincode `usize`, then their encodings     |
/// | JSON    | an array                                                    |
///
/// A reader with types decodes the items one by one, so that they keep their own form.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    cost: DecodeCost,
    items: usize,
    /// Size of one decoded item.
    size: usize,
    /// The type of the values in the items, and how deep they are in lists.
    of: Option<(&'static ValueType, u8)>,
}

/// Longest encoding of the number of items of a list, and of the brackets of an array, in bytes.
const LIST_HEAD: usize = 9;

impl Batch {
    pub(super) fn items(&self) -> usize {
        self.items
    }

    /// Returns the bytes of memory that it takes.
    pub(super) fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether one more item fits into one message.
    pub(super) fn has_room_for(&self, item: &EncodedItem, limits: MessageLimits) -> bool {
        let length = LIST_HEAD + self.bytes.len() + 1 + item.bytes.len();
        let mut cost = self.cost;
        cost.add_cost(item.cost);
        cost.add_list(self.items + 1, self.size.max(item.size));
        length <= limits.max_message && cost.check(length, limits.max_decoded).is_ok()
    }

    /// Adds an item, which is encoded in `codec`.
    pub(super) fn push(&mut self, item: EncodedItem, codec: Codec) {
        self.of = Some((item.of, item.lists));
        if codec == Codec::Json && self.items > 0 {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(&item.bytes);
        self.cost.add_cost(item.cost);
        self.size = self.size.max(item.size);
        self.items += 1;
    }

    /// Returns the list, and leaves an empty one.
    ///
    /// # Errors
    /// As for [`Piece::encode`]: a single item may fit into a message, and not a list of it.
    pub(super) fn take(&mut self, form: &ItemForm) -> Result<EncodedItem, Error> {
        let Self { bytes: items, mut cost, items: n, size, of } = std::mem::take(self);
        let mut bytes = Vec::with_capacity(items.len() + LIST_HEAD);
        match form.codec {
            Codec::Json => {
                bytes.push(b'[');
                bytes.extend_from_slice(&items);
                bytes.push(b']');
            }
            Codec::Bincode | Codec::ByName | Codec::Lossy => {
                to_bincode(&n, &mut bytes).map_err(unencodable)?;
                bytes.extend_from_slice(&items);
                cost.add_list(n, size);
            }
        }
        let (of, depth) = of.unwrap_or((form.of, 0));
        let (size, codec, lists) = (size_of::<Vec<()>>(), form.codec, depth.saturating_add(1));
        let list = EncodedItem { bytes, cost, size, codec, of, lists };
        list.check(form.limits)?;
        Ok(list)
    }
}

fn unencodable(text: String) -> Error {
    let text = format!("an item of the function cannot be encoded: {text}");
    Error::new(ErrorKind::BadResponse, text).with_evidence(Evidence::Answered)
}
