//! A function of the node that is applied to the items of a stream.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::call::executed::Evidence;
use crate::error::{Error, ErrorKind};
use crate::function::operators::piece::{EncodedItem, ItemForm, Piece};
use crate::function::outcome::Value;
use crate::function::panics::panic_text;
use crate::wire::operators::AppliedFunction;

/// A `#[remote(operator)]` function with erased types, and its arguments for one stream.
pub(crate) trait ItemFunction: Send {
    /// Takes the value out of `slot`, an `Option` of some type, and applies the function to it. The
    /// result has the form `out`. Returns `None`, and leaves the value, if the function takes another
    /// type.
    fn apply(&mut self, slot: &mut dyn Any, out: &ItemForm) -> Option<Result<AppliedItem, Error>>;

    /// Applies the function to an encoded item. Passes none unchanged, because the item may have
    /// another form than `out`.
    ///
    /// # Errors
    /// That the item cannot be decoded, or the result cannot be encoded.
    fn apply_encoded(&mut self, item: &EncodedItem, out: &ItemForm) -> Result<AppliedItem, Error>;
}

/// What a function makes of an item.
#[derive(Debug)]
pub(crate) enum AppliedItem {
    Unchanged,
    LeftOut,
    Changed(EncodedItem),
}

/// A function at work in a chain.
pub(crate) struct RunningOperator {
    applied: Arc<AppliedFunction>,
    function: Box<dyn ItemFunction>,
}

impl fmt::Debug for RunningOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.applied.fmt(f)
    }
}

impl RunningOperator {
    pub(crate) fn new(applied: Arc<AppliedFunction>, function: Box<dyn ItemFunction>) -> Self {
        Self { applied, function }
    }

    /// Applies the function to an item that is encoded as `form`, or will be. Its result has the form
    /// `out`. Returns `None` for an item that is left out.
    ///
    /// # Errors
    /// `Panicked` if the function panics, `BadResponse` or `TooLarge` if an item cannot be passed on.
    pub(super) fn apply<V: Value>(
        &mut self,
        item: Piece<V>,
        form: &ItemForm,
        out: &ItemForm,
    ) -> Result<Option<Piece<V>>, Error> {
        // Unwind safe: the stream ends with the error, and the function is not applied again.
        let applied =
            catch_unwind(AssertUnwindSafe(|| apply(&mut *self.function, item, form, out)));
        let name = &self.applied.name;
        match applied {
            Ok(result) => {
                result.map_err(|error| error.with_more(format_args!("in the operator `{name}`")))
            }
            Err(panic) => {
                let text = format!("the operator `{name}` panicked: {}", panic_text(&*panic));
                Err(Error::new(ErrorKind::Panicked, text).with_evidence(Evidence::Answered))
            }
        }
    }
}

fn apply<V: Value>(
    function: &mut dyn ItemFunction,
    item: Piece<V>,
    form: &ItemForm,
    out: &ItemForm,
) -> Result<Option<Piece<V>>, Error> {
    let applied = match item {
        Piece::Encoded(item) => function.apply_encoded(&item, out)?,
        Piece::Value(value) => {
            let mut slot = Some(value);
            let applied = match function.apply(&mut slot, out) {
                Some(applied) => applied?,
                None => {
                    // Another Rust type with the same fingerprint: as if it came from elsewhere.
                    let Some(value) = slot.take() else { return Ok(None) };
                    function.apply_encoded(&EncodedItem::of(&value, form)?, out)?
                }
            };
            if let (AppliedItem::Unchanged, Some(value)) = (&applied, slot) {
                return Ok(Some(Piece::Value(value)));
            }
            applied
        }
    };
    Ok(match applied {
        AppliedItem::Changed(item) => Some(Piece::Encoded(item)),
        AppliedItem::Unchanged | AppliedItem::LeftOut => None,
    })
}
