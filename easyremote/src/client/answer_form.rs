//! How answers are read: with types, or by name from a node with another version of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use crate::decode::Budget;
use crate::function::outcome::Value;
use crate::wire::codec::Codec;
use crate::wire::value::ValueType;

/// How an answer is encoded, and where the fields are counted that are left out of it.
#[derive(Clone, Debug)]
pub(super) struct AnswerForm {
    pub(super) codec: Codec,
    /// `None` where nothing can be left out.
    left_out: Option<Arc<AtomicU64>>,
}

impl AnswerForm {
    /// The form of calls that are not by name.
    pub(super) const TYPED: Self = Self { codec: Codec::Bincode, left_out: None };

    /// Returns the form of answers to calls in `codec`.
    pub(super) fn new(codec: Codec, left_out: &Arc<AtomicU64>) -> Self {
        Self { codec, left_out: codec.is_by_name().then(|| left_out.clone()) }
    }

    /// Decodes a value of the type `of`, with at most `max_decoded` bytes of memory. Writes how many
    /// fields were left out to `left_out`.
    ///
    /// # Errors
    /// If the bytes are invalid, exceed the budget, or have what the type has no place for.
    pub(super) fn decode<T: Value>(
        &self,
        of: &ValueType,
        bytes: &Bytes,
        max_decoded: usize,
        left_out: &mut u64,
    ) -> Result<T, String> {
        if !self.codec.is_by_name() {
            return of.decode(bytes, max_decoded);
        }
        let mut budget = Budget::for_message(bytes.len(), max_decoded);
        let decoded = of.decode_as(self.codec, bytes, &mut budget);
        *left_out = budget.left_out();
        self.note_left_out(*left_out);
        decoded
    }

    /// Counts fields that were left out.
    pub(super) fn note_left_out(&self, fields: u64) {
        if let Some(left_out) = self.left_out.as_ref().filter(|_| fields > 0) {
            left_out.fetch_add(fields, Ordering::Relaxed);
        }
    }
}

/// How the items of a stream are read, which is known once the first has arrived.
#[derive(Debug)]
pub(super) struct StreamForm(Option<(Arc<AtomicBool>, AnswerForm)>);

impl StreamForm {
    /// The form of a stream that is never by name.
    pub(super) const TYPED: Self = Self(None);

    /// Creates the form of a stream that has `form` once `by_name` is set.
    pub(super) fn new(by_name: Arc<AtomicBool>, form: AnswerForm) -> Self {
        Self(Some((by_name, form)))
    }

    /// Returns the form of what has arrived.
    #[inline]
    pub(super) fn now(&self) -> &AnswerForm {
        match &self.0 {
            Some((by_name, form)) if by_name.load(Ordering::Acquire) => form,
            _ => &AnswerForm::TYPED,
        }
    }
}
