//! `easyremote ls` and `easyremote describe`: what the gateway knows.

use easyremote::client::{FunctionInfo, NodeInfo};
use easyremote::{Error, ErrorKind};
use serde_json::{Value, json};

use crate::connect::connect;
use crate::exit::Failure;
use crate::options::{CommonOptions, DescribeOptions, LsOptions};
use crate::output::Output;
use crate::table::Table;
use crate::units::show_bytes;

/// Lists nodes with tags and load, and functions with the nodes that offer them.
pub(crate) async fn ls(
    common: &CommonOptions,
    ls: &LsOptions,
    output: &Output,
) -> Result<(), Failure> {
    let client = connect(common).await?;
    let (mut nodes, mut functions) = (client.nodes().await?, client.functions().await?);
    nodes.retain(|node| ls.tags.iter().all(|tag| node.tags.contains(tag)));
    if !ls.tags.is_empty() {
        for function in &mut functions {
            function.nodes.retain(|id| nodes.iter().any(|node| node.id == *id));
        }
        functions.retain(|function| !function.nodes.is_empty());
    }
    if output.json {
        let functions: Vec<_> =
            functions.iter().map(|function| as_json(function, ls.schemas)).collect();
        return output.document(&json!({ "nodes": nodes, "functions": functions })).await;
    }
    output.table(&node_table(&nodes)).await?;
    output.line("").await?;
    output.table(&function_table(&functions)).await
}

/// Shows all that is known of a function.
pub(crate) async fn describe(
    common: &CommonOptions,
    describe: &DescribeOptions,
    output: &Output,
) -> Result<(), Failure> {
    let name = &describe.function;
    let mut functions = connect(common).await?.functions().await?;
    functions.retain(|function| function.name == *name);
    if functions.is_empty() {
        let text = format!("no node offers `{name}`, or this identity may not call it");
        return Err(Error::new(ErrorKind::NoSuchFunction, text).into());
    }
    if output.json {
        let variants: Vec<_> = functions.iter().map(|function| as_json(function, true)).collect();
        return output.document(&json!({ "function": name, "variants": variants })).await;
    }
    for (n, function) in functions.iter().enumerate() {
        if n > 0 {
            output.line("").await?;
        }
        output.text(description(function)).await?;
    }
    Ok(())
}

fn node_table(nodes: &[NodeInfo]) -> Table {
    let mut table = Table::new([
        "NODE",
        "TAGS",
        "RUNNING",
        "WAITING",
        "CPU",
        "MEMORY",
        "FUNCTIONS",
        "AVOIDED FOR",
    ]);
    for node in nodes {
        let load = node.load;
        let memory = load.and_then(|load| load.memory);
        table.row([
            node.id.clone(),
            or_dash(Some(node.tags.join(","))),
            node.in_flight.to_string(),
            or_dash(load.map(|load| load.waiting)),
            or_dash(load.and_then(|load| load.cpu_percent).map(|cpu| format!("{cpu} %"))),
            or_dash(memory.map(|memory| {
                format!("{} of {}", show_bytes(memory.used), show_bytes(memory.total))
            })),
            node.functions.len().to_string(),
            node.avoided_for.join(","),
        ]);
    }
    table
}

fn function_table(functions: &[FunctionInfo]) -> Table {
    let mut table = Table::new(["FUNCTION", "KIND", "NODES", "SIGNATURE"]);
    for function in functions {
        table.row([
            function.name.clone(),
            function.kind.to_string(),
            function.nodes.len().to_string(),
            function.signature.clone(),
        ]);
    }
    table
}

/// A text in a column, or a dash where there is none.
fn or_dash(cell: Option<impl ToString>) -> String {
    let text = cell.map(|cell| cell.to_string()).unwrap_or_default();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// The description of a function for people.
fn description(function: &FunctionInfo) -> String {
    let FunctionInfo { name, kind, signature, doc, needs, nodes, schemas, .. } = function;
    let marks = [(function.idempotent, "idempotent"), (function.tool, "tool")];
    let marks: Vec<_> = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect();
    let mut text = format!("{name}{signature}\n\n");
    for line in doc.lines() {
        text.push_str(&format!("    {}\n", line.trim_end()));
    }
    if !doc.is_empty() {
        text.push('\n');
    }
    text.push_str(&format!("kind   {kind}\nnodes  {}\n", or_dash(Some(nodes.join(", ")))));
    if !needs.is_empty() {
        text.push_str(&format!("needs  {}\n", needs.join(", ")));
    }
    if let Some(timeout) = function.timeout {
        text.push_str(&format!("time   {timeout:?}\n"));
    }
    if !marks.is_empty() {
        text.push_str(&format!("marks  {}\n", marks.join(", ")));
    }
    let Some(schemas) = schemas else { return text };
    let parts = [
        ("arguments", Some(schemas.arguments())),
        ("result", schemas.result()),
        ("items", schemas.item()),
        ("error", schemas.error()),
    ];
    for (part, schema) in parts {
        if let Some(schema) = schema {
            text.push_str(&format!("\n{part}:\n{schema:#}\n"));
        }
    }
    text
}

fn as_json(function: &FunctionInfo, schemas: bool) -> Value {
    // A value of texts, numbers and lists: none of it can fail.
    let mut value = serde_json::to_value(function).unwrap_or_default();
    if !schemas && let Some(fields) = value.as_object_mut() {
        fields.remove("schemas");
    }
    value
}
