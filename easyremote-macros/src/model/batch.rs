//! A batch function, as its callers see it: with elements in place of lists.

use syn::{FnArg, GenericArgument, PathArguments, ReturnType, Type, parse_quote};

use crate::model::Function;
use crate::parameters::{Origin, Parameter};
use crate::types::{is_context, is_result, last_segment, peel, type_arguments};

impl Function {
    /// Returns the function that one caller sees.
    ///
    /// ```text
    /// // Input:
    /// fn embed(#[ctx] callers: &[Context], texts: Vec<String>) -> Vec<Vec<f32>> { .. }
    /// fn parse(texts: Vec<String>) -> Result<Vec<Tree>, Busy> { .. }
    ///
    /// // Output:
    /// fn embed(#[ctx] callers: &Context, texts: String) -> Vec<f32>
    /// fn parse(texts: String) -> Result<Tree, Busy>
    /// ```
    pub(crate) fn element(&self) -> Self {
        let mut element = self.with_one_context();
        for input in &mut element.signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            if let (Origin::Argument, Some(of)) = (Parameter::of(typed).origin, listed(&typed.ty)) {
                *typed.ty = of.clone();
            }
        }
        if let ReturnType::Type(_, ty) = &mut element.signature.output
            && let Some(of) = result_of_one(ty)
        {
            **ty = of;
        }
        element
    }

    /// Returns the function with a context in place of a list of them, without its body.
    pub(crate) fn with_one_context(&self) -> Self {
        let mut signature = self.signature.clone();
        for input in &mut signature.inputs {
            let FnArg::Typed(typed) = input else { continue };
            if let (Origin::Context, Some(context)) =
                (Parameter::of(typed).origin, contexts(&typed.ty))
            {
                let context = context.clone();
                *typed.ty = parse_quote!(&#context);
            }
        }
        Self {
            attributes: self.attributes.clone(),
            visibility: self.visibility.clone(),
            signature,
            receiver: self.receiver.clone(),
            no_body: self.no_body,
            body: None,
        }
    }
}

/// Returns the `T` of `Vec<T>`.
pub(crate) fn listed(ty: &Type) -> Option<&Type> {
    let segment = last_segment(ty).filter(|segment| segment.ident == "Vec")?;
    type_arguments(segment).next()
}

/// Returns the `Context` of `&[Context]`.
pub(crate) fn contexts(ty: &Type) -> Option<&Type> {
    let Type::Reference(reference) = peel(ty) else { return None };
    match peel(&reference.elem) {
        Type::Slice(slice) if is_context(&slice.elem) => Some(&slice.elem),
        _ => None,
    }
}

/// Returns the `Vec<T>` of `Result<Vec<T>, E>`, `io::Result<Vec<T>>`.
pub(crate) fn list_in_result(ty: &Type) -> Option<&Type> {
    let first = type_arguments(last_segment(ty).filter(|_| is_result(ty))?).next()?;
    listed(first).is_some().then_some(first)
}

/// Returns what one caller gets of `Vec<T>` and of `Result<Vec<T>, E>`.
fn result_of_one(ty: &Type) -> Option<Type> {
    if let Some(of) = listed(ty) {
        return Some(of.clone());
    }
    let of = listed(list_in_result(ty)?)?.clone();
    let mut result = peel(ty).clone();
    let Type::Path(path) = &mut result else { return None };
    let last = path.path.segments.last_mut()?;
    let PathArguments::AngleBracketed(bracketed) = &mut last.arguments else { return None };
    let first = bracketed.args.iter_mut().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })?;
    *first = of;
    Some(result)
}
