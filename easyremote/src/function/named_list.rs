//! Arguments by name, between two versions of a function.
//!
//! | bytes | what                                            |
//! |-------|-------------------------------------------------|
//! | 2     | length of the parameter's name, little-endian   |
//! | ..    | the name, UTF-8                                 |
//! | ..    | the value, as in [`names`]                      |
//!
//! and so on, for each argument, in any order.

use crate::decode::Budget;
use crate::function::signature::Signature;
use crate::wire::value::names;

/// Returns `typed`, the arguments of the function of `signature` in their own forms, by name.
///
/// # Errors
/// Why one of them cannot be written by name, naming it.
pub(crate) fn write(
    signature: &Signature,
    parameters: &[&str],
    typed: &[u8],
    max_decoded: usize,
) -> Result<Vec<u8>, String> {
    let (mut out, mut rest) = (Vec::with_capacity(2 * typed.len()), typed);
    for (name, of) in parameters.iter().zip(&signature.arguments) {
        let length = u16::try_from(name.len()).map_err(|_| "its name is too long");
        let length = length.map_err(|text| format!("argument `{name}`: {text}"))?;
        out.extend(length.to_le_bytes());
        out.extend(name.as_bytes());
        let taken = of.rewrite_by_name(rest, &mut out, max_decoded);
        rest = &rest[taken.map_err(|text| format!("argument `{name}`: {text}"))?..];
    }
    Ok(out)
}

/// Returns the arguments in the order of `parameters`; `None` for those that were not sent. Arguments
/// that are left out are noted in `budget`.
///
/// # Errors
/// That `body` is malformed, or has an argument that is not among `parameters`, unless that is `lossy`.
pub(super) fn read<'a>(
    mut body: &'a [u8],
    parameters: &[&str],
    lossy: bool,
    budget: &mut Budget,
) -> Result<Vec<Option<&'a [u8]>>, String> {
    let mut values = vec![None; parameters.len()];
    while !body.is_empty() {
        let short = || "the arguments end too early".to_owned();
        let (length, rest) = body.split_first_chunk::<2>().ok_or_else(short)?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (name, rest) = rest.split_at_checked(length).ok_or_else(short)?;
        let (value, length) = names::split(rest)?;
        let whole = &rest[..length];
        body = &rest[length..];
        let place = parameters.iter().position(|parameter| parameter.as_bytes() == name);
        let Some(place) = place else {
            if names::is_nothing(value) {
                continue;
            }
            budget.note_left_out(1);
            if lossy {
                continue;
            }
            let (name, takes) = (String::from_utf8_lossy(name), parameters.join(", "));
            return Err(format!("no argument `{name}`; it takes ({takes})"));
        };
        if values[place].replace(whole).is_some() {
            return Err(format!("argument `{}` was sent twice", parameters[place]));
        }
    }
    Ok(values)
}
