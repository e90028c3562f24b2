//! The options of calls, and the operators of streams, as parameters that operations share.

use serde_json::{Map, Value, json};

/// An option of calls, or an operator of streams.
struct Parameter {
    /// Its name in the document.
    id: &'static str,
    name: &'static str,
    /// `header` or `query`.
    place: &'static str,
    /// Text of JSON.
    schema: &'static str,
    description: &'static str,
}

/// Options of every call.
pub(super) const OPTIONS: &[&str] =
    &["timeout", "node", "tag", "preferTag", "sticky", "strategy", "waitForNode", "traceparent"];

/// Options of calls that are no streams.
pub(super) const KEY: &[&str] = &["key"];

/// Operators of streams.
pub(super) const OPERATORS: &[&str] =
    &["take", "skip", "every", "sample", "latest", "dedup", "batches", "buffer", "through"];

/// How a stream without client stream goes on after its connection was lost.
pub(super) const RESUME: &[&str] = &["resume", "lastEventId"];

const PARAMETERS: &[Parameter] = &[
    Parameter {
        id: "timeout",
        name: "Easyremote-Timeout",
        place: "header",
        schema: r#"{"type":"string","pattern":"^[0-9]{1,6}(ms|s|m|h)?$"}"#,
        description: "Time for the call, such as `5s` or `500ms`; a number is seconds.",
    },
    Parameter {
        id: "node",
        name: "Easyremote-Node",
        place: "header",
        schema: TOKEN,
        description: "The id of the node that runs it.",
    },
    Parameter {
        id: "tag",
        name: "Easyremote-Tag",
        place: "header",
        schema: TOKEN,
        description: "Tags that the node must have, separated by commas.",
    },
    Parameter {
        id: "preferTag",
        name: "Easyremote-Prefer-Tag",
        place: "header",
        schema: TOKEN,
        description: "Tags that a node had better have, separated by commas.",
    },
    Parameter {
        id: "sticky",
        name: "Easyremote-Sticky",
        place: "header",
        schema: TOKEN,
        description: "Calls with the same text go to the same node while it is there.",
    },
    Parameter {
        id: "strategy",
        name: "Easyremote-Strategy",
        place: "header",
        schema: r#"{"type":"string","enum":["least-busy","round-robin","random","fastest"]}"#,
        description: "How a node is chosen among those that can run it.",
    },
    Parameter {
        id: "waitForNode",
        name: "Easyremote-Wait-For-Node",
        place: "header",
        schema: r#"{"type":"string","enum":["true","false"]}"#,
        description: "Whether the call waits if no node offers the function.",
    },
    Parameter {
        id: "key",
        name: "Easyremote-Key",
        place: "header",
        schema: TOKEN,
        description: "A call with the key of an earlier one joins it, or gets its kept answer.",
    },
    Parameter {
        id: "traceparent",
        name: "traceparent",
        place: "header",
        schema: r#"{"type":"string","pattern":"^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$"}"#,
        description: "The trace that the call belongs to (W3C trace context).",
    },
    Parameter {
        id: "take",
        name: "take",
        place: "query",
        schema: COUNT,
        description: "Ends the stream after this many items. Operators apply in the order in which \
                      they are written.",
    },
    Parameter {
        id: "skip",
        name: "skip",
        place: "query",
        schema: COUNT,
        description: "Leaves out the first items.",
    },
    Parameter {
        id: "every",
        name: "every",
        place: "query",
        schema: r#"{"type":"integer","minimum":1,"maximum":4294967295}"#,
        description: "Returns every n-th item.",
    },
    Parameter {
        id: "sample",
        name: "sample",
        place: "query",
        schema: r#"{"type":"string","pattern":"^[0-9]{1,6}(ms|s|m|h)?$"}"#,
        description: "Returns at most one item per interval, the newest; such as `500ms`.",
    },
    Parameter {
        id: "latest",
        name: "latest",
        place: "query",
        schema: FLAG,
        description: "Returns the newest item whenever the last one has been taken.",
    },
    Parameter {
        id: "dedup",
        name: "dedup",
        place: "query",
        schema: FLAG,
        description: "Leaves out an item that equals the one before.",
    },
    Parameter {
        id: "batches",
        name: "batches",
        place: "query",
        schema: r#"{"type":"string","pattern":"^[1-9][0-9]{0,3},[0-9]{1,6}(ms|s|m|h)?$"}"#,
        description: "Returns lists of up to n items, or of those that came within a time: \
                      `100,500ms`.",
    },
    Parameter {
        id: "buffer",
        name: "buffer",
        place: "query",
        schema: COUNT,
        description: "How many bytes the function may run ahead of the reader.",
    },
    Parameter {
        id: "through",
        name: "through",
        place: "query",
        schema: r#"{"type":"string","minLength":1}"#,
        description: "Passes items through an operator of the node: its name, or `NAME:ARGUMENTS` \
                      with the arguments as JSON.",
    },
    Parameter {
        id: "resume",
        name: "resume",
        place: "query",
        schema: r#"{"type":"string","const":"1"}"#,
        description: "Lets a stream of events (`Accept: text/event-stream`) go on after a lost \
                      connection: a later request sends the id of the last event.",
    },
    Parameter {
        id: "lastEventId",
        name: "Last-Event-ID",
        place: "header",
        schema: r#"{"type":"string","minLength":1}"#,
        description: "The id of the last event that has arrived, of a stream with `resume`.",
    },
];

/// Texts that a header can have.
const TOKEN: &str = r#"{"type":"string","minLength":1,"pattern":"^[A-Za-z0-9_.:-]{1,64}$"}"#;
const COUNT: &str = r#"{"type":"integer","minimum":0,"maximum":4294967295}"#;
const FLAG: &str = r#"{"type":"string","const":"true"}"#;

/// Returns all of them, as they are under `components/parameters`.
pub(super) fn components() -> Map<String, Value> {
    let component = |parameter: &Parameter| {
        // The text is a constant, which a test reads.
        let schema: Value = serde_json::from_str(parameter.schema).unwrap_or_default();
        let component = json!({
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.description,
            "schema": schema,
        });
        (parameter.id.to_owned(), component)
    };
    PARAMETERS.iter().map(component).collect()
}

/// Returns references to some of them.
pub(super) fn references(ids: &[&[&str]]) -> Vec<Value> {
    let reference = |id: &&str| json!({ "$ref": format!("#/components/parameters/{id}") });
    ids.iter().copied().flatten().map(reference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_parameter_has_a_schema_and_each_name_a_parameter() {
        let components = components();
        assert_eq!(components.len(), PARAMETERS.len());
        assert!(components.values().all(|it| it["schema"]["type"].is_string()));
        for id in [OPTIONS, KEY, OPERATORS, RESUME].concat() {
            assert!(components.contains_key(id), "{id}");
        }
    }
}
