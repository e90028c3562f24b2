//! The arguments of a function: a tuple, each element of which is encoded for itself.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::decode::Budget;
use crate::function::json_list::list;
use crate::function::outcome::Argument;
use crate::schema::{TypeSchema, trace};
use crate::wire::codec::{Codec, from_bincode, from_json, unwinding};

/// A tuple of up to 16 arguments.
pub trait Arguments: Sized + Send + 'static {
    /// Appends all of them.
    ///
    /// # Errors
    /// What `Serialize` complained about.
    #[doc(hidden)]
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), String>;

    /// Reads all of them; `parameters` are their names, for JSON objects and for errors.
    #[doc(hidden)]
    fn decode(source: &mut ArgumentSource<'_>) -> Result<Self, String>;

    /// Their types as serde sees them.
    #[doc(hidden)]
    fn schemas() -> TypeSchemas;
}

/// The types of arguments as serde sees them, in order.
#[derive(Debug)]
pub struct TypeSchemas(pub(crate) Vec<TypeSchema>);

/// Decodes the arguments in `body`.
///
/// # Errors
/// What is wrong with them, naming the argument where that is known.
pub(crate) fn decode<A: Arguments>(
    codec: Codec,
    body: &Bytes,
    parameters: &'static [&'static str],
) -> Result<A, String> {
    let mut source = ArgumentSource {
        parameters,
        next: 0,
        budget: Budget::for_message(body.len()),
        rest: match codec {
            Codec::Bincode => Rest::Bincode(body),
            Codec::Json => Rest::Json(list(body, parameters)?),
        },
    };
    let arguments = unwinding(|| A::decode(&mut source))?;
    match source.rest {
        Rest::Bincode(rest) if !rest.is_empty() => {
            Err(format!("{} bytes are left over after the arguments", rest.len()))
        }
        _ => Ok(arguments),
    }
}

/// Where arguments are decoded from, one after the other.
#[derive(Debug)]
pub struct ArgumentSource<'a> {
    parameters: &'static [&'static str],
    next: usize,
    budget: Budget,
    rest: Rest<'a>,
}

#[derive(Debug)]
enum Rest<'a> {
    Bincode(&'a [u8]),
    Json(Vec<&'a RawValue>),
}

impl ArgumentSource<'_> {
    fn next<T: Argument>(&mut self) -> Result<T, String> {
        let index = self.next;
        self.next += 1;
        let decoded = match &mut self.rest {
            Rest::Bincode(rest) => from_bincode(rest, &mut self.budget).map(|(value, length)| {
                *rest = &rest[length..];
                value
            }),
            Rest::Json(values) => match values.get(index) {
                Some(value) => from_json(value.get().as_bytes(), &mut self.budget),
                None => Err("missing".to_owned()),
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
            #[allow(non_snake_case, unused_variables)]
            fn encode(&self, out: &mut Vec<u8>) -> Result<(), String> {
                let ($($name,)*) = self;
                $(Codec::Bincode.encode($name, out)?;)*
                Ok(())
            }

            #[allow(unused_variables)]
            fn decode(source: &mut ArgumentSource<'_>) -> Result<Self, String> {
                Ok(($(source.next::<$name>()?,)*))
            }

            fn schemas() -> TypeSchemas {
                TypeSchemas(vec![$(trace::<$name>()),*])
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
    use super::*;

    const NAMES: &[&str] = &["a", "b"];

    fn json(text: &'static str) -> Result<(i64, String), String> {
        decode(Codec::Json, &Bytes::from_static(text.as_bytes()), NAMES)
    }

    #[test]
    fn arguments_survive_bincode() {
        let arguments = (7_i64, vec![1_u8, 2, 3], Some("x".to_owned()));
        let mut out = Vec::new();
        arguments.encode(&mut out).unwrap();
        let back = decode(Codec::Bincode, &out.clone().into(), &["a", "b", "c"]);
        assert_eq!(back, Ok(arguments));
        out.push(0);
        let long = decode::<(i64, Vec<u8>, Option<String>)>(Codec::Bincode, &out.into(), NAMES);
        assert_eq!(long.unwrap_err(), "1 bytes are left over after the arguments");
    }

    #[test]
    fn bytes_look_like_any_other_list() {
        let (mut fast, mut slow) = (Vec::new(), Vec::new());
        (vec![1_u8; 300],).encode(&mut fast).unwrap();
        (vec![Some(1_u8); 300].into_iter().flatten().collect::<std::collections::VecDeque<_>>(),)
            .encode(&mut slow)
            .unwrap();
        assert_eq!(fast, slow);
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
