//! The JSON Schemas of a function, as nodes send them and clients read them.
//!
//! The text on the wire is a JSON object of schemas, with a member for each method of
//! [`FunctionSchemas`]; only `arguments` is always there. Members that are not known are ignored.

use std::sync::Arc;

use serde::de::{Deserializer, Error};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::printable;
use crate::wire::fields::MAX_TEXT;
use crate::wire::limits::{MAX_SCHEMA_DEPTH, MAX_SCHEMAS};

/// The JSON Schemas of a function: what a caller with JSON sends, and what it gets. From
/// [`FunctionInfo::schemas`](crate::client::FunctionInfo::schemas).
///
/// They follow JSON Schema 2020-12, and each stands alone: what it refers to is in its `$defs`. They
/// are found out from how serde reads the types, without any derive but serde's own:
///
/// - No schema refuses a value that the function accepts, or returns, in serde's usual form. What
///   serde does not tell accepts any value: an untagged enum, the fields of a tagged one, the text
///   that a type parses.
/// - A field is required if serde requires it. Aliases are left out, and so are the forms of a
///   struct as an array.
/// - A floating-point number that is infinite or none is `null` in JSON. A result may be that, an
///   argument may not.
///
/// All schemas of a function have at most 32 KiB together.
///
/// ```
/// # use easyremote::{Client, Gateway, Node, functions, remote};
/// /// Adds two numbers.
/// #[remote]
/// fn add(
///     /// The first number.
///     a: u8,
///     b: u8,
/// ) -> u16 {
///     u16::from(a) + u16::from(b)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), easyremote::Error> {
/// # let gateway = Gateway::serve("127.0.0.1:0").await?;
/// # let _node = Node::serve(gateway.local_addr(), functions![add]).await?;
/// # let client = Client::connect(gateway.local_addr()).await?;
/// let functions = client.functions().await?;
/// let schemas = functions[0].schemas.as_ref().unwrap();
///
/// let arguments = schemas.arguments();
/// assert_eq!(arguments["description"], "Adds two numbers.");
/// assert_eq!(arguments["required"], serde_json::json!(["a", "b"]));
/// assert_eq!(arguments["properties"]["a"]["description"], "The first number.");
/// assert_eq!(arguments["properties"]["a"]["maximum"], 255);
/// assert_eq!(schemas.result().unwrap()["maximum"], 65_535);
/// assert_eq!(schemas.error(), None);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSchemas {
    text: Arc<str>,
}

impl FunctionSchemas {
    /// Creates the schemas from a text that was [checked](Self::check).
    pub(crate) fn checked(text: Arc<str>) -> Self {
        Self { text }
    }

    /// Checks a text from a peer: its length and depth before anything is allocated.
    ///
    /// # Errors
    /// That it is too long, nests too deep, or is not a JSON object of this form.
    pub(crate) fn check(text: &str) -> Result<(), String> {
        if text.len() > MAX_SCHEMAS {
            let n = text.len();
            return Err(format!("its schemas have {n} bytes; the limit is {MAX_SCHEMAS}"));
        }
        if depth(text) > MAX_SCHEMA_DEPTH {
            return Err(format!("its schemas nest deeper than {MAX_SCHEMA_DEPTH} levels"));
        }
        // In full, as clients read it: texts and numbers can be invalid too.
        let all: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| format!("its schemas are not a JSON object: {error}"))?;
        match all.get("arguments") {
            Some(Value::Object(_)) => Ok(()),
            _ => Err("its schemas lack an object `arguments`".to_owned()),
        }
    }

    /// Returns the schema of the arguments by name: an object with a property for each argument,
    /// all of them required.
    ///
    /// Its description is the doc comment of the function, and that of a property the doc comment
    /// of the parameter. The order of the arguments is that of
    /// [`FunctionInfo::parameters`](crate::client::FunctionInfo::parameters).
    #[must_use]
    pub fn arguments(&self) -> Value {
        self.member("arguments").unwrap_or_default()
    }

    /// Returns the schema of the items of the caller's stream, or of those that an operator takes;
    /// `None` if the function takes no stream.
    #[must_use]
    pub fn upload(&self) -> Option<Value> {
        self.member("upload")
    }

    /// Returns the schema of the result; `None` if the function returns a stream.
    #[must_use]
    pub fn result(&self) -> Option<Value> {
        self.member("result")
    }

    /// Returns the schema of the items, of an operator those that it passes on; `None` if the function
    /// returns one result.
    #[must_use]
    pub fn item(&self) -> Option<Value> {
        self.member("item")
    }

    /// Returns the schema of the function's own error, or of the errors among its items; `None` if
    /// there are none. An error that is sent as text (`err = "display"`) has no schema.
    #[must_use]
    pub fn error(&self) -> Option<Value> {
        self.member("error")
    }

    /// Returns the schema of the error of a stream's set-up; `None` if there is none.
    #[must_use]
    pub fn setup_error(&self) -> Option<Value> {
        self.member("setup_error")
    }

    /// Returns one of the schemas.
    fn member(&self, name: &str) -> Option<Value> {
        let mut all: Map<String, Value> = serde_json::from_str(&self.text).ok()?;
        let mut schema = all.remove(name)?;
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("$schema".to_owned(), DIALECT.into());
        }
        Some(schema)
    }
}

impl Serialize for FunctionSchemas {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let all: Value = serde_json::from_str(&self.text).map_err(serde::ser::Error::custom)?;
        all.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FunctionSchemas {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut all = Value::deserialize(from)?;
        sanitize(&mut all);
        let text = all.to_string();
        Self::check(&text).map_err(D::Error::custom)?;
        Ok(Self { text: text.into() })
    }
}

/// Makes the descriptions in a schema printable. A client does not rely on the gateway for that.
fn sanitize(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" => {
                        *text = printable::lines(text, MAX_TEXT).into_owned();
                    }
                    member => sanitize(member),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sanitize),
        _ => {}
    }
}

/// Returns how many arrays and objects are around the innermost one of a JSON text. The result for
/// another text means nothing.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

/// The dialect of all schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(text: &str) -> String {
        FunctionSchemas::check(text).unwrap_err()
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        FunctionSchemas::check(r#"{"arguments":{"enum":["{[\"]"]},"later":[]}"#).unwrap();
        for text in [
            "",
            "[]",
            "{",
            "nul",
            "\u{7f}",
            r#"{"arguments":{}} {}"#,
            r#"{"arguments":[]}"#,
            r#"{"result":{}}"#,
            r#"{"arguments":{"const":"\ud800"}}"#,
            r#"{"arguments":{"const":1e999}}"#,
        ] {
            refusal(text);
        }
        let nested = |n: usize| {
            format!(r#"{{"arguments":{{"enum":{}{}}}}}"#, "[".repeat(n - 1), "]".repeat(n - 1))
        };
        FunctionSchemas::check(&nested(MAX_SCHEMA_DEPTH - 1)).unwrap();
        assert!(refusal(&nested(MAX_SCHEMA_DEPTH)).contains("deeper than 96 levels"));
        assert!(refusal(&nested(MAX_SCHEMAS)).contains("the limit is 32768"));
        let long = |n: usize| format!(r#"{{"arguments":{{"const":"{}"}}}}"#, "x".repeat(n));
        FunctionSchemas::check(&long(MAX_SCHEMAS - 26)).unwrap();
        assert_eq!(long(MAX_SCHEMAS - 26).len(), MAX_SCHEMAS);
        assert!(refusal(&long(MAX_SCHEMAS - 25)).contains("32769 bytes"));
    }

    #[test]
    fn descriptions_are_made_printable_and_nothing_else() {
        let sent = json!({
            "arguments": { "properties": { "description": { "description": "a\u{1b}[2J\u{202e}b" } } },
            "result": { "enum": ["\u{1b}"] },
        });
        let schemas: FunctionSchemas = serde_json::from_value(sent).unwrap();
        let described = &schemas.arguments()["properties"]["description"];
        assert_eq!(*described, json!({ "description": "a[2Jb" }));
        assert_eq!(schemas.result().unwrap()["enum"], json!(["\u{1b}"]));
    }
}
