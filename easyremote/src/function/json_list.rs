//! Splits JSON arguments into one piece of text per parameter.

use std::fmt;

use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Returns the arguments in order: of a JSON array by position, or of a JSON object by name.
///
/// Surplus arguments are counted but not stored: even a short message can contain very many.
///
/// # Errors
/// That `body` is not valid JSON, or that the arguments do not match `parameters`.
pub(super) fn list<'a>(
    body: &'a [u8],
    parameters: &'static [&'static str],
) -> Result<Vec<&'a RawValue>, String> {
    let takes = || format!("it takes ({})", parameters.join(", "));
    let mut json = serde_json::Deserializer::from_slice(body);
    if body.trim_ascii_start().first() != Some(&b'{') {
        let (values, n) = json
            .deserialize_seq(ByPosition(parameters.len()))
            .and_then(|read| json.end().map(|()| read))
            .map_err(|error| format!("neither a JSON array nor an object: {error}"))?;
        return match n == parameters.len() {
            true => Ok(values),
            false => Err(format!("{n} arguments were given; {}", takes())),
        };
    }
    let (values, unknown) = json
        .deserialize_map(ByName(parameters))
        .and_then(|read| json.end().map(|()| read))
        .map_err(|error| format!("not a JSON object: {error}"))?;
    let named = values.into_iter().zip(parameters).map(|(value, name)| {
        value.ok_or_else(|| format!("argument `{name}` is missing; {}", takes()))
    });
    let values = named.collect::<Result<_, _>>()?;
    match unknown {
        Some(unknown) => Err(format!("no argument `{unknown}`; {}", takes())),
        None => Ok(values),
    }
}

/// Visits an array: keeps the first `n` elements, and counts all.
struct ByPosition(usize);

impl<'de> Visitor<'de> for ByPosition {
    type Value = (Vec<&'de RawValue>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut values = Vec::new();
        while values.len() < self.0 {
            match array.next_element()? {
                Some(value) => values.push(value),
                None => break,
            }
        }
        let mut n = values.len();
        while array.next_element::<IgnoredAny>()?.is_some() {
            n += 1;
        }
        Ok((values, n))
    }
}

/// Visits an object: keeps the values of these names, and the first unknown name.
struct ByName(&'static [&'static str]);

impl<'de> Visitor<'de> for ByName {
    type Value = (Vec<Option<&'de RawValue>>, Option<String>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let (mut values, mut unknown) = (vec![None; self.0.len()], None);
        while let Some(name) = object.next_key::<String>()? {
            match self.0.iter().position(|known| *known == name) {
                Some(at) => values[at] = Some(object.next_value()?),
                None => {
                    object.next_value::<IgnoredAny>()?;
                    unknown.get_or_insert(name);
                }
            }
        }
        Ok((values, unknown))
    }
}
