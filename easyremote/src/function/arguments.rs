//! The arguments of a function: a tuple whose elements are encoded one by one.

use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::decode::{Budget, DecodeCost};
use crate::error::{Error, ErrorKind};
use crate::function::json_list::list;
use crate::function::named_list;
use crate::function::outcome::Argument;
use crate::wire::codec::{Codec, from_json, unwinding};
use crate::wire::value::ValueType;
use crate::wire::value::names;

/// A tuple of up to 16 arguments.
pub trait Arguments: Sized + Send + 'static {
    /// Appends the encoded arguments, whose types are `types`.
    ///
    /// # Errors
    /// The error of `Serialize`, that a value would arrive changed, or that decoding the arguments
    /// takes more than `max_decoded` bytes of memory.
    #[doc(hidden)]
    fn encode(
        &self,
        types: &[&'static ValueType],
        out: &mut Vec<u8>,
        max_decoded: usize,
    ) -> Result<(), String>;

    /// Decodes the arguments.
    ///
    /// # Errors
    /// The first argument that cannot be decoded, with the reason.
    #[doc(hidden)]
    fn decode(source: &mut ArgumentSource<'_>) -> Result<Self, String>;

    /// Returns the arguments' types as serde sees them.
    #[doc(hidden)]
    fn schemas() -> TypeSchemas;
}

/// The types of arguments as serde sees them, in order.
#[derive(Debug)]
pub struct TypeSchemas(pub(crate) Vec<&'static ValueType>);

/// Decodes the arguments in `body`, whose types are `types`, within `budget`. `parameters` are
/// their names, for JSON objects and for errors.
///
/// # Errors
/// Why they cannot be decoded, naming the argument where it is known.
pub(crate) fn decode<A: Arguments>(
    codec: Codec,
    body: &Bytes,
    parameters: &'static [&'static str],
    types: &[&'static ValueType],
    budget: &mut Budget,
) -> Result<A, String> {
    let rest = match codec {
        Codec::Bincode => Rest::Bincode(body),
        Codec::Json => Rest::Json(list(body, parameters)?),
        Codec::ByName | Codec::Lossy => {
            let lossy = codec == Codec::Lossy;
            Rest::Named(named_list::read(body, parameters, lossy, budget)?, lossy)
        }
    };
    let mut source = ArgumentSource { parameters, types, next: 0, budget, rest };
    let arguments = unwinding(|| A::decode(&mut source))?;
    match source.rest {
        Rest::Bincode(rest) if !rest.is_empty() => {
            Err(format!("{} bytes are left over after the arguments", rest.len()))
        }
        _ => Ok(arguments),
    }
}

/// Returns the error of a call whose arguments exceed the node's memory for arguments.
pub(crate) fn no_room() -> Error {
    let text =
        "the node's memory for arguments is used up; try again later, or send less at a time";
    Error::new(ErrorKind::Overloaded, text).with_retry_after(RETRY_AFTER)
}

/// Pause that a node asks for before another attempt when its memory is used up.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The source that arguments are decoded from, one after the other.
#[derive(Debug)]
pub struct ArgumentSource<'a> {
    parameters: &'static [&'static str],
    types: &'a [&'static ValueType],
    next: usize,
    budget: &'a mut Budget,
    rest: Rest<'a>,
}

#[derive(Debug)]
enum Rest<'a> {
    Bincode(&'a [u8]),
    Json(Vec<&'a RawValue>),
    /// By name, and whether that is lossy. `None` for arguments that were not sent.
    Named(Vec<Option<&'a [u8]>>, bool),
}

impl ArgumentSource<'_> {
    fn next<T: Argument>(&mut self) -> Result<T, String> {
        let index = self.next;
        self.next += 1;
        let decoded = match &mut self.rest {
            Rest::Bincode(rest) => match self.types.get(index) {
                Some(of) => of.read(rest, self.budget).map(|(value, length)| {
                    *rest = &rest[length..];
                    value
                }),
                None => Err("one too many".to_owned()),
            },
            Rest::Json(values) => match values.get(index) {
                Some(value) => from_json(value.get().as_bytes(), self.budget),
                None => Err("missing".to_owned()),
            },
            Rest::Named(values, lossy) => match (values.get(index), self.types.get(index)) {
                (Some(Some(value)), Some(of)) => {
                    of.read_names(value, *lossy, self.budget).map(|(value, _)| value)
                }
                _ => names::missing(),
            },
        };
        decoded.map_err(|text| match self.parameters.get(index) {
            Some(name) => format!("argument `{name}`: {text}"),
            None => format!("argument {index}: {text}"),
        })
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        impl<$($name: Argument),*> Arguments for ($($name,)*) {
            #[allow(non_snake_case, unused_variables, unused_mut)]
            fn encode(
                &self,
                types: &[&'static ValueType],
                out: &mut Vec<u8>,
                max_decoded: usize,
            ) -> Result<(), String> {
                let ($($name,)*) = self;
                let (start, mut cost) = (out.len(), DecodeCost::default());
                let mut types = types.iter();
                $(
                    let of = types.next().ok_or("one argument too many")?;
                    of.put($name, out, &mut cost, max_decoded)?;
                )*
                cost.check(out.len() - start, max_decoded)
            }

            #[allow(unused_variables)]
            fn decode(source: &mut ArgumentSource<'_>) -> Result<Self, String> {
                Ok(($(source.next::<$name>()?,)*))
            }

            fn schemas() -> TypeSchemas {
                TypeSchemas(vec![$(ValueType::of::<$name>()),*])
            }
        }
    )*};
}

tuples! {
    ()
    (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H)
    (A B C D E F G H I) (A B C D E F G H I J) (A B C D E F G H I J K) (A B C D E F G H I J K L)
    (A B C D E F G H I J K L M) (A B C D E F G H I J K L M N) (A B C D E F G H I J K L M N O)
    (A B C D E F G H I J K L M N O P)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const NAMES: &[&str] = &["a", "b"];

    const MAX_DECODED: usize = 1 << 20;

    fn json(text: &'static str) -> Result<(i64, String), String> {
        let body = Bytes::from_static(text.as_bytes());
        decode(Codec::Json, &body, NAMES, &[], &mut Budget::for_message(body.len(), MAX_DECODED))
    }

    fn encoded<A: Arguments>(arguments: &A) -> Vec<u8> {
        let mut out = Vec::new();
        arguments.encode(&A::schemas().0, &mut out, MAX_DECODED).unwrap();
        out
    }

    fn decoded<A: Arguments>(bytes: Vec<u8>) -> Result<A, String> {
        let mut budget = Budget::for_message(bytes.len(), MAX_DECODED);
        decode(Codec::Bincode, &bytes.into(), NAMES, &A::schemas().0, &mut budget)
    }

    #[test]
    fn arguments_survive_bincode() {
        let arguments = (7_i64, vec![1_u8, 2, 3], Some("x".to_owned()));
        let mut out = encoded(&arguments);
        assert_eq!(decoded(out.clone()), Ok(arguments));
        out.push(0);
        let long = decoded::<(i64, Vec<u8>, Option<String>)>(out);
        assert_eq!(long.unwrap_err(), "1 bytes are left over after the arguments");
    }

    #[test]
    fn bytes_look_like_any_other_list() {
        let list = vec![1_u8; 300];
        assert_eq!(encoded(&(VecDeque::from(list.clone()),)), encoded(&(list,)));
    }

    #[test]
    fn json_arguments_come_by_position_or_by_name() {
        assert_eq!(json(r#"[1, "x"]"#), Ok((1, "x".into())));
        assert_eq!(json(r#" {"b": "x", "a": 1}"#), Ok((1, "x".into())));
    }

    #[test]
    fn a_wrong_json_argument_is_named() {
        for (text, part) in [
            (r#"[1]"#, "1 arguments were given; it takes (a, b)"),
            (r#"{"a": 1}"#, "argument `b` is missing"),
            (r#"{"a": 1, "b": "x", "c": 2}"#, "no argument `c`"),
            (r#"["x", "x"]"#, "argument `a`: invalid type"),
            (r#"3"#, "neither a JSON array"),
            (r#"{"a": "#, "not a JSON object"),
            (r#"[1, "x"] 2"#, "trailing characters"),
            (r#"{"a": 1, "b": "x"} {}"#, "trailing characters"),
        ] {
            let error = json(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
