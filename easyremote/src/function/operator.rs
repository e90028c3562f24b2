//! The handlers of operators: functions that are applied to the items of streams.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;

use crate::decode::Budget;
use crate::error::{Error, ErrorKind};
use crate::function::arguments::decode;
use crate::function::handler::{Handler, Inputs, Run};
use crate::function::operators::applied::{AppliedItem, ItemFunction};
use crate::function::operators::piece::{EncodedItem, ItemForm};
use crate::function::outcome::Argument;
use crate::function::remote::{Remote, RemoteOperator};
use crate::wire::codec::Codec;
use crate::wire::limits::MAX_APPLIED_DECODED;
use crate::wire::operators::AppliedFunction;

/// A type that may be an argument of an operator: the function gets a copy for each item.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an operator, which gets a copy of it for each item",
    label = "not `Clone`",
    note = "derive it: #[derive(Clone)]; for a large value, which is slow to copy, an `Arc` in a \
            newtype, or what the node keeps, as `#[state]`"
)]
pub trait OperatorArgument: Argument + Clone {}

#[diagnostic::do_not_recommend]
impl<T: Argument + Clone> OperatorArgument for T {}

/// Returns a copy of an argument, for one item.
#[must_use]
pub fn copied<T: OperatorArgument>(argument: &T) -> T {
    argument.clone()
}

/// Calls an operator that makes another item of each, or none.
type MapFunction<O> = fn(
    &Inputs,
    <O as RemoteOperator>::Item,
    &<O as Remote>::Arguments,
) -> Option<<O as RemoteOperator>::Output>;

/// Returns the handler of an operator that makes another item of each, or none.
#[must_use]
pub fn mapping<O: RemoteOperator>(function: MapFunction<O>) -> Handler {
    handler::<O>(move |inputs, arguments| Box::new(Mapping::<O> { inputs, arguments, function }))
}

/// Returns the handler of an operator that passes items unchanged, or leaves them out.
#[must_use]
pub fn filtering<O>(function: fn(&Inputs, &O::Item, &O::Arguments) -> bool) -> Handler
where
    O: RemoteOperator<Output = <O as RemoteOperator>::Item>,
{
    handler::<O>(move |inputs, arguments| Box::new(Filtering::<O> { inputs, arguments, function }))
}

fn handler<O: RemoteOperator>(
    with: impl Fn(Inputs, O::Arguments) -> Box<dyn ItemFunction> + Send + Sync + 'static,
) -> Handler {
    Handler::new(Run::Operator(Arc::new(move |inputs, codec, applied: &AppliedFunction| {
        Ok(with(inputs, arguments::<O>(codec, &applied.arguments)?))
    })))
}

/// Decodes the arguments of an operator.
///
/// # Errors
/// `BadArguments` if they cannot be decoded, or would take too much memory.
fn arguments<O: Remote>(codec: Codec, encoded: &[u8]) -> Result<O::Arguments, Error> {
    let bytes = Bytes::copy_from_slice(encoded);
    let mut budget = Budget::for_message(bytes.len(), MAX_APPLIED_DECODED);
    let (parameters, types) = (O::DESCRIPTOR.parameters, &O::signature().arguments);
    decode(codec, &bytes, parameters, types, &mut budget).map_err(|text| {
        let name = O::DESCRIPTOR.name;
        let text = format!("invalid arguments for the operator `{name}`: {text}");
        Error::new(ErrorKind::BadArguments, text)
    })
}

struct Mapping<O: RemoteOperator> {
    inputs: Inputs,
    arguments: O::Arguments,
    function: MapFunction<O>,
}

impl<O: RemoteOperator> Mapping<O> {
    fn map(&self, item: O::Item, out: &ItemForm) -> Result<AppliedItem, Error> {
        match (self.function)(&self.inputs, item, &self.arguments) {
            Some(item) => {
                let out = ItemForm { of: O::signature().value, ..*out };
                EncodedItem::of(&item, &out).map(AppliedItem::Changed)
            }
            None => Ok(AppliedItem::LeftOut),
        }
    }
}

impl<O: RemoteOperator> ItemFunction for Mapping<O> {
    fn apply(&mut self, slot: &mut dyn Any, out: &ItemForm) -> Option<Result<AppliedItem, Error>> {
        let item = slot.downcast_mut::<Option<O::Item>>()?.take()?;
        Some(self.map(item, out))
    }

    fn apply_encoded(&mut self, item: &EncodedItem, out: &ItemForm) -> Result<AppliedItem, Error> {
        self.map(item.decode(O::signature().upload, out.limits)?, out)
    }
}

struct Filtering<O: RemoteOperator> {
    inputs: Inputs,
    arguments: O::Arguments,
    function: fn(&Inputs, &O::Item, &O::Arguments) -> bool,
}

impl<O: RemoteOperator> Filtering<O> {
    fn passes(&self, item: &O::Item) -> bool {
        (self.function)(&self.inputs, item, &self.arguments)
    }
}

impl<O: RemoteOperator> ItemFunction for Filtering<O> {
    fn apply(&mut self, slot: &mut dyn Any, _: &ItemForm) -> Option<Result<AppliedItem, Error>> {
        let item = slot.downcast_ref::<Option<O::Item>>()?.as_ref()?;
        Some(Ok(if self.passes(item) { AppliedItem::Unchanged } else { AppliedItem::LeftOut }))
    }

    fn apply_encoded(&mut self, item: &EncodedItem, out: &ItemForm) -> Result<AppliedItem, Error> {
        let of = O::signature().upload;
        let item = item.decode::<O::Item>(of, out.limits)?;
        match self.passes(&item) {
            // A list may be encoded item by item; what leaves a function has the form of its type.
            true => EncodedItem::of(&item, &ItemForm { of, ..*out }).map(AppliedItem::Changed),
            false => Ok(AppliedItem::LeftOut),
        }
    }
}
