//! JSON as the text that it is.

use bytes::Bytes;
use serde::de::IgnoredAny;

/// One JSON value on one line: a result, an item, or a function's own error.
#[derive(Clone, Debug)]
pub(crate) struct JsonText(Bytes);

impl JsonText {
    /// # Errors
    /// If the bytes are not one JSON value.
    pub(crate) fn new(bytes: &Bytes) -> Result<Self, String> {
        serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| error.to_string())?;
        if !bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Ok(Self(bytes.clone()));
        }
        // Inside of a string both are written otherwise, so here they are space between tokens.
        let line = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
        Ok(Self(bytes.iter().map(line).collect::<Vec<_>>().into()))
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_value_on_one_line() {
        for (sent, shown) in [
            ("1", "1"),
            ("{\"b\":1,\n\r\n\"a\":2}", "{\"b\":1,   \"a\":2}"),
            ("\"a\\nb\"", "\"a\\nb\""),
            ("340282366920938463463374607431768211455", "340282366920938463463374607431768211455"),
        ] {
            let text = JsonText::new(&Bytes::from_static(sent.as_bytes())).unwrap();
            assert_eq!(text.as_bytes(), shown.as_bytes());
        }
        for odd in ["", "1 2", "{\"a\":1}\n\ndata: 2", "\"a\nb\"", "nul", "\"\u{0}\""] {
            assert!(JsonText::new(&Bytes::from_static(odd.as_bytes())).is_err(), "{odd:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(JsonText::new(&deep.into_bytes().into()).is_err());
    }
}
