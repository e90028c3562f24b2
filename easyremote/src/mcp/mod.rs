//! Functions as tools of agents, over the Model Context Protocol ([MCP]).
//!
//! A function with `#[remote(tool)]` is a tool for each agent that may call it. There are two ways to
//! it: [`serve`] speaks with one agent over a pair of byte streams, as `easyremote mcp` does over
//! standard input and output; and the [HTTP server](crate::http) of a gateway has the path `/mcp`,
//! where each request needs a bearer.
//!
//! | of the function | what the agent sees |
//! |---|---|
//! | name | the name of the tool. The `:` and `/` of an instance become `.` and `-` |
//! | doc comment | the description |
//! | schema of the arguments | the input schema |
//! | result | `{"result": ..}` |
//! | items of a stream | `{"items": [..], "count": n}`, with `left_out` and `faults` if there are such items, and a progress notification for each, as it comes |
//! | its own error | `{"kind": "Function", "executed": "Yes", "error": .., "message": ".."}` |
//! | any other error | `{"kind": "..", "executed": "..", "node": "..", "message": ".."}` |
//! | `idempotent` | `idempotentHint`. Nothing else is known of what a tool does |
//! | `timeout` | ends a call that takes longer, with what there is of a stream |
//!
//! These objects are the structured content of a result, and its text. An error has `isError`, also
//! one in the arguments, so that a model can mend them. Only a tool that does not exist is an error of
//! the protocol. A call ends at its node when the agent cancels it or goes.
//!
//! | limit | |
//! |---|---|
//! | message of an agent | 16 MiB |
//! | result of a function, as JSON | 4 MiB |
//! | items in a result | 10,000, and 1 MiB as JSON; `left_out` counts the others |
//! | item in a progress notification, as JSON | 64 KiB; of a longer one its length |
//!
//! The revisions of the protocol are those of 2026-07-28, which has no sessions, and those before it.
//!
//! [MCP]: https://modelcontextprotocol.io

mod agent_calls;
mod bridge;
mod collected;
mod last_list;
mod listed;
mod outcome;
mod schemas;
mod stdio;
mod streamable;

pub(crate) use crate::mcp::agent_calls::AgentCalls;
pub use crate::mcp::stdio::serve;
pub(crate) use crate::mcp::streamable::answer;
