//! A command-line client that calls functions by name, with JSON.

use std::io::{self, Write};
use std::time::Instant;

use easyremote::client::{FunctionInfo, JsonError, Kind};
use easyremote::{CallError, Client};
use futures::StreamExt;
use serde_json::{Value, json};

use crate::arguments::complete;
use crate::cli::gateway_address;
use crate::roles::told_to_stop;
use crate::{Failure, with_causes};

/// Calls `function`, or lists all functions. Returns whether it succeeded.
pub(crate) async fn run(
    function: Option<String>,
    arguments: Option<String>,
    jsonl: bool,
) -> Result<bool, Failure> {
    let client = Client::connect(gateway_address()).await?;
    let output = Output { jsonl, started: Instant::now() };
    let work = async {
        let functions = client.functions().await?;
        let Some(name) = function else {
            functions.iter().try_for_each(|function| output.function(function))?;
            return Ok(true);
        };
        match functions.iter().find(|function| function.name == name) {
            Some(function) if function.kind == Kind::Stream => {
                let arguments = complete(function, arguments.as_deref())?;
                stream(&client, name, arguments, &output).await
            }
            Some(function) => {
                let arguments = complete(function, arguments.as_deref())?;
                call(&client, name, arguments, &output).await
            }
            // The gateway's error is the most precise one.
            None => call(&client, name, json!([]), &output).await,
        }
    };
    let done = tokio::select! {
        done = work => done,
        // Do not exit at once: the functions that run on the node must be cancelled first.
        () = told_to_stop(false) => Ok(false),
    };
    client.close().await;
    done
}

async fn call(
    client: &Client,
    function: String,
    arguments: Value,
    output: &Output,
) -> Result<bool, Failure> {
    match client.call_json(function, arguments).await {
        Ok(result) => output.result(&result).map(|()| true),
        Err(error) => output.error(&error).map(|()| false),
    }
    .map_err(Failure::from)
}

/// Writes the items as they arrive, and goes on after an item that failed.
async fn stream(
    client: &Client,
    function: String,
    arguments: Value,
    output: &Output,
) -> Result<bool, Failure> {
    let mut items = client.stream_json(function, arguments);
    let mut well = true;
    while let Some(item) = items.next().await {
        match item {
            Ok(item) => output.item(&item)?,
            Err(error) => {
                output.error(&error)?;
                well = false;
            }
        }
    }
    Ok(well)
}

/// Standard output, for people or as lines of JSON.
struct Output {
    jsonl: bool,
    started: Instant,
}

impl Output {
    fn function(&self, function: &FunctionInfo) -> io::Result<()> {
        if self.jsonl {
            return self.line(&serde_json::to_string(function)?);
        }
        let FunctionInfo { name, kind, signature, doc, nodes, .. } = function;
        self.line(&format!("{name}{signature}"))?;
        self.line(&format!("    {kind}, at {}", nodes.join(", ")))?;
        let summary = doc.lines().take_while(|line| !line.is_empty());
        summary.map(|line| format!("    {line}")).try_for_each(|line| self.line(&line))
    }

    fn result(&self, result: &Value) -> io::Result<()> {
        if self.jsonl {
            return self.object("result", result);
        }
        self.line(&serde_json::to_string_pretty(result)?)
    }

    fn item(&self, item: &Value) -> io::Result<()> {
        if self.jsonl {
            return self.object("item", item);
        }
        self.line(&format!("{:7.3} s  {}", self.started.elapsed().as_secs_f64(), brief(item)))
    }

    fn error(&self, error: &CallError<JsonError>) -> io::Result<()> {
        let error = match error {
            CallError::Function(JsonError(error)) if self.jsonl => json!({ "error": error }),
            CallError::Function(JsonError(error)) => {
                let seconds = self.started.elapsed().as_secs_f64();
                return self.line(&format!("{seconds:7.3} s  error: {}", brief(error)));
            }
            CallError::Remote(error) => {
                let (kind, executed) = (error.kind(), error.executed());
                let text = with_causes(error);
                if !self.jsonl {
                    eprintln!("error: {text} ({kind:?}, executed: {executed:?})");
                    return Ok(());
                }
                let (kind, executed) = (format!("{kind:?}"), format!("{executed:?}"));
                json!({ "failed": { "kind": kind, "executed": executed, "message": text } })
            }
        };
        self.line(&error.to_string())
    }

    /// Writes an object as it is, and any other value as an object with one `key`.
    fn object(&self, key: &str, value: &Value) -> io::Result<()> {
        if value.is_object() {
            self.line(&value.to_string())
        } else {
            self.line(&json!({ key: value }).to_string())
        }
    }

    /// Writes a line and flushes it, also into a pipe.
    fn line(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }
}

/// A value in a line: the fields of an object without braces and quotes.
fn brief(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| match value {
                Value::String(text) => format!("{name}: {text}"),
                other => format!("{name}: {other}"),
            });
            fields.collect::<Vec<_>>().join("  ")
        }
        other => other.to_string(),
    }
}
