//! What a bearer may request, as an OpenAPI 3.1 document for generators of clients.
//!
//! [`document`] is a function of the list of functions alone. It keeps its promises whatever nodes
//! send: the document is valid, each reference leads to a schema in it, and no two operations or
//! schemas have one name in any spelling.

mod components;
mod document;
mod fixed;
mod functions;
mod names;
mod parameters;
mod rules;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

pub(super) use self::document::DocumentReader;

use self::document::OpenApiDocument;
use self::functions::ListedFunction;

use crate::error::{Error, ErrorKind};

/// The last document that was made: programs that read one often ask again.
///
/// One is made at a time, so that many requests do not take memory for many.
#[derive(Debug, Default)]
pub(super) struct OpenApi {
    last: Mutex<Option<Made>>,
}

#[derive(Debug)]
struct Made {
    functions: Bytes,
    reader: DocumentReader,
    text: Bytes,
}

impl OpenApi {
    /// Returns the text of the document for a list of functions.
    ///
    /// # Errors
    /// Those of [`document`].
    pub(super) async fn text(
        &self,
        functions: Bytes,
        reader: DocumentReader,
    ) -> Result<Bytes, Error> {
        let mut last = self.last.lock().await;
        let same = last.as_ref().filter(|it| it.functions == functions && it.reader == reader);
        if let Some(made) = same {
            return Ok(made.text.clone());
        }
        let (listed, asked) = (functions.clone(), reader.clone());
        let making = spawn_blocking(move || {
            document(&listed, &asked).map(|document| Bytes::from(document.to_string()))
        });
        let text = making.await.map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the document cannot be made").with_source(error)
        })??;
        *last = Some(Made { functions, reader, text: text.clone() });
        Ok(text)
    }
}

/// Returns the document for a list of functions, as `GET /functions` returns it.
///
/// # Errors
/// `Protocol` if it is no such list.
fn document(functions: &[u8], reader: &DocumentReader) -> Result<Value, Error> {
    let mut listed: Vec<ListedFunction<'_>> =
        serde_json::from_slice(functions).map_err(|error| {
            let text = "the list of functions cannot be read";
            Error::new(ErrorKind::Protocol, text).with_source(error)
        })?;
    // What two of them share has the name that the first one claims.
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut document = OpenApiDocument::default();
    fixed::add(&mut document, reader);
    let mut left = MAX_SCHEMAS;
    for function in listed.iter().take(MAX_FUNCTIONS) {
        let room = left.checked_sub(function.weight());
        left = room.unwrap_or(left);
        function.describe(&mut document, room.is_some());
    }
    let omitted = listed.len().saturating_sub(MAX_FUNCTIONS);
    Ok(finish(document, reader, omitted))
}

/// Returns the whole document, which leaves out so many functions.
fn finish(document: OpenApiDocument, reader: &DocumentReader, omitted: usize) -> Value {
    let mut description = DESCRIPTION.to_owned();
    if omitted > 0 {
        description += &format!(
            "\n\n{omitted} functions are left out: a document has at most {MAX_FUNCTIONS}."
        );
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "easyremote",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description,
        },
        "servers": [{ "url": reader.server }],
        "security": [{ "bearer": [] }],
        "paths": document.paths,
        "components": {
            "schemas": document.components.into_schemas(),
            "parameters": parameters::components(),
            "responses": fixed::responses(),
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
        },
    })
}

/// Returns the document for a list of functions, for a test that has them from many nodes.
///
/// # Errors
/// Those of [`document`].
#[cfg(feature = "__bench")]
pub fn openapi_of(functions: &str) -> Result<String, Error> {
    let reader = DocumentReader { server: "http://127.0.0.1".to_owned(), is_overseer: false };
    document(functions.as_bytes(), &reader).map(|document| document.to_string())
}

const DESCRIPTION: &str = "\
The functions that this bearer may call, and what the gateway says of itself.

- **Arguments** are an object by name. An array by position is taken too.
- **Streams** are lines of JSON, or server-sent events for `Accept: text/event-stream`. Their `schema` \
is text; `x-itemSchema` is what OpenAPI 3.2 calls `itemSchema`, the schema of one line or event.
- **Streams that continue**: with `resume=1`, events have ids, and the same request with `Last-Event-ID` \
goes on behind that event, also at another gateway. 410 is what has been lost, and 204 says that the \
stream has ended.
- **Client streams** are a body of JSON lines: the arguments, then the items.
- **Options** of a call are headers. `Easyremote-Metadata-NAME` passes a value on to the function.
- **Errors** are problem documents (RFC 9457). `kind` says what has happened, and `executed` whether \
the function may have run. 422 is the function's own error.
- A caller that disconnects cancels the function.";

/// Most functions in a document.
const MAX_FUNCTIONS: usize = 4_096;

/// Longest schemas in a document, in bytes. The functions behind them have arguments without types.
const MAX_SCHEMAS: usize = 4 << 20;
