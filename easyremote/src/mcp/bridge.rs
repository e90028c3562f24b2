//! The protocol's requests, answered by calls.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, Implementation, ListToolsResult,
    PaginatedRequestParams, ProgressNotificationParam, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Value;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Options};
use crate::error::CallError;
use crate::mcp::agent_calls::AgentCall;
use crate::mcp::collected::CollectedItems;
use crate::mcp::last_list::LastList;
use crate::mcp::listed::ListedTool;
use crate::mcp::outcome::{failed, internal, own, returned, unknown};

/// Answers the requests of an agent with the calls of a client.
#[derive(Clone, Debug)]
pub(super) struct ToolServer {
    client: Client,
    /// What the agent's program has set for its calls. It takes precedence over what functions set.
    options: Options,
    /// Cancelled when the agent has gone.
    gone: CancellationToken,
    /// The call, if it can be cancelled by another request than its own.
    cancellable: Option<Arc<AgentCall>>,
    listed: Arc<LastList>,
}

/// Time in which calls may end that are under way when the agent has gone: a script may write its
/// requests and close its end, and still read the answers.
const GRACE: Duration = Duration::from_millis(100);

/// Longest item in a progress notification, in bytes of JSON.
const MAX_MESSAGE: usize = 64 << 10;

impl ToolServer {
    /// Calls end when `gone` is cancelled.
    pub(super) fn new(client: Client, gone: CancellationToken) -> Self {
        let options = Options::new();
        Self { client, options, gone, cancellable: None, listed: Arc::default() }
    }

    /// Returns a server of one request.
    pub(super) fn of_request(
        client: Client,
        options: Options,
        call: Option<AgentCall>,
        listed: Arc<LastList>,
    ) -> Self {
        let cancellable = call.map(Arc::new);
        Self { options, cancellable, listed, ..Self::new(client, CancellationToken::new()) }
    }

    /// Returns the client with the options of a call.
    fn client_for(&self, tool: &ListedTool) -> Client {
        let declared = match tool.timeout {
            Some(timeout) => Options::new().timeout(timeout),
            None => Options::new(),
        };
        self.client.with(declared).with(self.options.clone())
    }

    /// Makes a call. Dropping the future cancels it.
    async fn call(
        &self,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let tool = match self.listed.tool(&self.client, &request.name).await {
            Ok(Some(tool)) => tool,
            Ok(None) => return Err(unknown(&request.name)),
            Err(error) => return Ok(failed(&error)),
        };
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        if tool.is_stream {
            return Ok(self.collect(&tool, arguments, context).await);
        }
        let call = self.client_for(&tool).call_json(tool.function, arguments);
        Ok(match call.await {
            Ok(result) => returned(result),
            Err(CallError::Function(error)) => own(error.0),
            Err(CallError::Remote(error)) => failed(&error),
        })
    }

    /// Reads a stream to its end, and tells the agent of each item.
    async fn collect(
        &self,
        tool: &ListedTool,
        arguments: Value,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        let mut stream = self.client_for(tool).stream_json(&*tool.function, arguments);
        match stream.opened().await {
            Ok(()) => {}
            // Checked where it has arrived.
            Err(CallError::Function(error)) => {
                return own(serde_json::from_slice(error.as_bytes()).unwrap_or_default());
            }
            Err(CallError::Remote(error)) => return failed(&error),
        }
        let mut collected = CollectedItems::default();
        while let Some(next) = stream.next().await {
            let (count, text) = match next {
                Ok(item) => {
                    let text = item.to_string();
                    (collected.push(item, &text), text)
                }
                Err(CallError::Remote(error)) if stream.is_over() => {
                    return collected.into_result(Some(&error));
                }
                Err(fault) => {
                    let error = match fault {
                        CallError::Function(error) => error.0,
                        // With `err = "display"`, a function's error is its text.
                        CallError::Remote(error) => error.to_string().into(),
                    };
                    let text = error.to_string();
                    (collected.push_fault(error, &text), text)
                }
            };
            notify(context, count, text).await;
        }
        collected.into_result(None)
    }

    /// Waits until the call is to end.
    async fn ends(&self, context: &RequestContext<RoleServer>) {
        let cancelled = async {
            match &self.cancellable {
                Some(call) => call.cancelled().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = context.ct.cancelled() => {}
            () = cancelled => {}
            () = self.gone.cancelled() => sleep(GRACE).await,
        }
    }
}

/// Sends an item to an agent that has asked for progress, and waits until it is on its way: an agent
/// that does not read stops the function.
async fn notify(context: &RequestContext<RoleServer>, count: u64, mut text: String) {
    let Some(token) = context.meta.get_progress_token() else { return };
    if text.len() > MAX_MESSAGE {
        text = format!("an item of {} bytes", text.len());
    }
    let progress = ProgressNotificationParam::new(token, count as f64).with_message(text);
    // If it fails, the agent has gone, which ends the call.
    let _ = context.peer.notify_progress(progress).await;
}

impl ServerHandler for ToolServer {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("easyremote", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        if request.is_some_and(|request| request.cursor.is_some()) {
            let text = "all tools are on the first page: there is no cursor";
            return Err(ErrorData::invalid_params(text, None));
        }
        let tools = self.listed.renewed(&self.client).await.map_err(|error| internal(&error))?;
        Ok(ListToolsResult::with_all_items(tools.described()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        tokio::select! {
            biased;
            result = self.call(request, &context) => result.map(CallToolResponse::from),
            () = self.ends(&context) => Err(ErrorData::internal_error("the call was cancelled", None)),
        }
    }
}

/// What a model should know of all tools.
const INSTRUCTIONS: &str = "These tools run on other machines. A result is `{\"result\": ..}`, or \
    `{\"items\": [..]}` of a tool that returns several. An error has a `kind`, a `message`, and \
    `executed`: `No` means that the tool did not run, `Yes` that it ran, and `Maybe` that it may have \
    run: do not repeat such a call unless that is harmless. `kind` `Function` is an error of the tool \
    itself, which is in `error`; `BadArguments` tells what is wrong with the arguments.";
