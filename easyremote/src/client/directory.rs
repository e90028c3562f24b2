//! What a client asks its gateway: the functions and nodes there are, and what it is doing.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::handle::Client;
use crate::error::{CallError, Error, ErrorKind};
use crate::wire::directory::{FUNCTIONS, FunctionInfo, GatewayStats, NODES, NodeInfo, STATS};

impl Client {
    /// The functions that can be called now, by name.
    ///
    /// # Errors
    /// Those of a call.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the question.
    pub async fn functions(&self) -> Result<Vec<FunctionInfo>, Error> {
        self.ask(FUNCTIONS).await
    }

    /// The nodes that are registered at the gateway now, by id.
    ///
    /// # Errors
    /// Those of a call.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the question.
    pub async fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        self.ask(NODES).await
    }

    /// What the gateway is doing, and has done. For [admins](crate::Role::Admin).
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] if this client is none; otherwise those of a call.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the question.
    pub async fn gateway_stats(&self) -> Result<GatewayStats, Error> {
        self.ask(STATS).await
    }

    /// Asks the gateway one of its own questions.
    async fn ask<T: DeserializeOwned>(&self, question: &str) -> Result<T, Error> {
        let answer = self.call_json(question, Value::Array(Vec::new())).await;
        let answer = answer.map_err(|error| match error {
            CallError::Remote(error) => error,
            CallError::Function(_) => Error::new(ErrorKind::Protocol, "the gateway has no answer"),
        })?;
        serde_json::from_value(answer).map_err(|error| {
            // Not a source: it may quote what the gateway has written.
            let text = format!("the gateway's answer to `{question}` makes no sense here: {error}");
            Error::new(ErrorKind::BadResponse, text)
        })
    }
}
