//! Which functions are tools, and how they are described.

use std::collections::BTreeMap;
use std::time::Duration;

use rmcp::model::{Tool, ToolAnnotations};

use crate::client::FunctionInfo;
use crate::mcp::schemas;
use crate::wire::kind::Kind;

/// The tools of one identity, by name.
#[derive(Debug)]
pub(super) struct ToolList {
    tools: BTreeMap<String, ListedTool>,
}

/// A function that is a tool.
#[derive(Clone, Debug)]
pub(super) struct ListedTool {
    /// Its name on the wire.
    pub(super) function: String,
    pub(super) is_stream: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) described: Tool,
}

impl ToolList {
    /// Finds the tools among the functions that an identity may call.
    pub(super) fn new(functions: Vec<FunctionInfo>) -> Self {
        let (exact, spelled): (Vec<_>, Vec<_>) =
            variants(functions).into_values().partition(|it| tool_name(&it.name) == it.name);
        let mut tools = BTreeMap::new();
        for function in exact {
            tools.insert(function.name.clone(), ListedTool::new(function));
        }
        let mut others: BTreeMap<String, Vec<FunctionInfo>> = BTreeMap::new();
        for function in spelled {
            others.entry(tool_name(&function.name)).or_default().push(function);
        }
        for (name, mut functions) in others {
            // A call must not reach another function than the one that was described.
            let is_taken = functions.len() > 1 || tools.contains_key(&name);
            match functions.pop() {
                Some(function) if !is_taken && is_tool_name(&name) => {
                    tools.insert(name, ListedTool::new(function));
                }
                _ => tracing::debug!(%name, "left out of the tools: its name is not usable"),
            }
        }
        tools.retain(|name, _| is_tool_name(name));
        Self { tools }
    }

    pub(super) fn get(&self, name: &str) -> Option<&ListedTool> {
        self.tools.get(name)
    }

    pub(super) fn described(&self) -> Vec<Tool> {
        self.tools.values().map(|tool| tool.described.clone()).collect()
    }
}

impl ListedTool {
    fn new(function: FunctionInfo) -> Self {
        let input = schemas::input(&function);
        let output = schemas::output(&function);
        let mut described = Tool::new(tool_name(&function.name), function.doc, input);
        if let Some(output) = output {
            described = described.with_raw_output_schema(output.into());
        }
        if function.idempotent {
            described = described.with_annotations(ToolAnnotations::new().idempotent(true));
        }
        let is_stream = function.kind == Kind::Stream;
        Self { function: function.name, is_stream, timeout: function.timeout, described }
    }
}

/// Returns the tools that can be called now, by the names of their functions. Of several variants, it
/// is the one that most nodes offer.
fn variants(functions: Vec<FunctionInfo>) -> BTreeMap<String, FunctionInfo> {
    let mut found: BTreeMap<String, FunctionInfo> = BTreeMap::new();
    for function in functions {
        // A node may mark what the macro refuses.
        let is_fit = matches!(function.kind, Kind::Unary | Kind::Stream);
        let more = |other: &FunctionInfo| other.nodes.len() < function.nodes.len();
        if function.tool
            && is_fit
            && !function.nodes.is_empty()
            && found.get(&function.name).is_none_or(more)
        {
            found.insert(function.name.clone(), function);
        }
    }
    found
}

/// Returns the name of a function as that of a tool: an instance has a `:`, and may have a `/`.
fn tool_name(function: &str) -> String {
    function.replace(':', ".").replace('/', "-")
}

/// Whether agents accept the name ([MCP], "Tool Names").
///
/// [MCP]: https://modelcontextprotocol.io/specification/2025-11-25/server/tools#tool-names
fn is_tool_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=128).contains(&name.len()) && name.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn function(name: &str, nodes: usize) -> FunctionInfo {
        let nodes: Vec<_> = (0..nodes).map(|n| format!("n{n}")).collect();
        let doc = format!("{nodes:?}");
        let info = json!({
            "name": name, "kind": "unary", "parameters": ["a"], "signature": "(a: u8)", "doc": doc,
            "tool": true, "nodes": nodes,
        });
        serde_json::from_value(info).unwrap()
    }

    fn names(functions: Vec<FunctionInfo>) -> Vec<(String, String)> {
        let list = ToolList::new(functions);
        list.tools.into_iter().map(|(name, tool)| (name, tool.function)).collect()
    }

    #[test]
    fn names_of_tools_lead_to_one_function() {
        let named = |name: &str| function(name, 1);
        let exact = |name: &str| (name.to_owned(), name.to_owned());
        let longest = "x".repeat(128);
        assert_eq!(
            names(vec![named("a.B-2_c"), named(&longest)]),
            [exact("a.B-2_c"), exact(&longest)]
        );
        let spelled = ("Model.v1-x.embed".to_owned(), "Model:v1/x.embed".to_owned());
        assert_eq!(names(vec![named("Model:v1/x.embed")]), [spelled]);
        // Whichever comes first.
        for both in [["Model:a.f", "Model.a.f"], ["Model.a.f", "Model:a.f"]] {
            assert_eq!(names(both.map(named).into()), [exact("Model.a.f")]);
        }
        assert!(names(vec![named("M:a-b.f"), named("M:a/b.f")]).is_empty());
        for odd in ["", "a b", "größe", "a,b", &"x".repeat(129)] {
            assert!(names(vec![named(odd)]).is_empty(), "{odd}");
        }
    }

    #[test]
    fn of_several_variants_most_nodes_count() {
        let list = ToolList::new(vec![function("f", 1), function("f", 3), function("f", 2)]);
        let described = list.get("f").unwrap().described.description.clone();
        assert_eq!(described.unwrap(), "[\"n0\", \"n1\", \"n2\"]");
    }

    #[test]
    fn what_cannot_be_called_is_no_tool() {
        assert!(names(vec![function("f", 0)]).is_empty());
        let unmarked = FunctionInfo { tool: false, ..function("f", 1) };
        assert!(names(vec![unmarked]).is_empty());
        for kind in [Kind::Upload, Kind::Duplex, Kind::Operator] {
            assert!(names(vec![FunctionInfo { kind, ..function("f", 1) }]).is_empty());
        }
    }

    #[test]
    fn only_what_is_known_is_said_of_a_tool() {
        let annotations = |idempotent| {
            let list = ToolList::new(vec![FunctionInfo { idempotent, ..function("f", 1) }]);
            serde_json::to_value(&list.described()[0]).unwrap().get("annotations").cloned()
        };
        assert_eq!(annotations(false), None);
        assert_eq!(annotations(true), Some(json!({ "idempotentHint": true })));
    }
}
