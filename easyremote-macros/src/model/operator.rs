//! The parts of an operator's signature.

use syn::{Signature, Type};

use crate::model::Function;
use crate::parameters::{Parameter, referent};
use crate::returns::Returns;
use crate::types::{last_segment, peel, type_arguments};

/// The item and the result of an operator.
pub(crate) struct OperatorShape<'a> {
    /// The type of the items that it takes.
    pub(crate) item: &'a Type,
    pub(crate) result: OperatorResult<'a>,
}

/// What an operator makes of an item.
pub(crate) enum OperatorResult<'a> {
    /// `bool`: the item, or nothing.
    Filter,
    /// `Option<U>`: another item, or nothing.
    MapSome(&'a Type),
    /// Another item.
    Map(&'a Type),
}

impl<'a> OperatorShape<'a> {
    /// Reads the item and the result of a function with `operator`; with `plain` an `Option` is an
    /// item. `None` if it has none of them, which the check reports.
    ///
    /// ```text
    /// // Input:                                       // Output:
    /// fn warm(r: &Reading, limit: f64) -> bool        Reading, Filter
    /// fn hot(r: Reading) -> Option<Celsius>           Reading, MapSome(Celsius)
    /// fn kelvin(r: Reading) -> Kelvin                 Reading, Map(Kelvin)
    /// ```
    pub(crate) fn of(signature: &'a Signature, plain: bool) -> Option<Self> {
        let written = item_of(signature)?.ty;
        let Returns::Value(ty) = Returns::of(&signature.output) else { return None };
        let result = match (is_reference(written), inside_option(ty)) {
            (true, _) => OperatorResult::Filter,
            (false, Some(inside)) if !plain => OperatorResult::MapSome(inside),
            (false, _) => OperatorResult::Map(ty),
        };
        let item = if is_reference(written) { referent(written) } else { written };
        Some(Self { item, result })
    }
}

impl Function {
    /// Returns the parameter that is the item of an operator: the first that the node does not
    /// provide.
    pub(crate) fn item(&self) -> Option<Parameter<'_>> {
        item_of(&self.signature)
    }
}

fn item_of(signature: &Signature) -> Option<Parameter<'_>> {
    Parameter::all(signature).find(Parameter::is_argument)
}

/// Whether a type is written as a reference.
pub(crate) fn is_reference(ty: &Type) -> bool {
    matches!(peel(ty), Type::Reference(_))
}

/// Returns the `T` of `Option<T>`.
fn inside_option(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Option")?;
    type_arguments(segment).next()
}
