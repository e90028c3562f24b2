//! Calls that one request makes and another one cancels.
//!
//! Since revision 2026-07-28, an agent cancels a call by closing its request. Before, it sends a
//! notification, in a request of its own, with the id that it has given to the call. Ids are unique in
//! a session only. So an agent of those revisions gets the id of a session, which it sends with each
//! request, and which is nothing but a part of the names of its calls: the server keeps no session.

use std::collections::HashMap;
use std::sync::Arc;

use axum::http::HeaderMap;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::mcp::last_list::LastList;

/// The header with the id of a session.
pub(super) const SESSION: &str = "mcp-session-id";

/// Longest id of a session that counts, in bytes. Ours have 32.
const MAX_SESSION: usize = 128;

/// What the requests of agents share.
#[derive(Clone, Debug, Default)]
pub(crate) struct AgentCalls {
    /// The calls under way that a notification can cancel. Bounded by the number of requests.
    calls: Arc<Mutex<HashMap<CallName, CancellationToken>>>,
    /// The tools of each caller. Bounded by the number of identities that have a bearer.
    listed: Arc<Mutex<HashMap<String, Arc<LastList>>>>,
}

/// What tells a call from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CallName {
    /// The identity whose bearer the request has.
    caller: String,
    session: String,
    /// As JSON: `1` is not `"1"`.
    id: String,
}

/// A call under way. Dropping it takes it out.
#[derive(Debug)]
pub(super) struct AgentCall {
    name: CallName,
    cancelled: CancellationToken,
    calls: AgentCalls,
}

/// What is needed of a message. The protocol's library checks it as a whole.
#[derive(Debug, Deserialize)]
pub(super) struct MessageHead {
    #[serde(default)]
    pub(super) method: Option<String>,
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    params: Option<CancelledParams>,
}

/// The parameters of a `notifications/cancelled`, which other messages lack.
#[derive(Debug, Deserialize)]
struct CancelledParams {
    #[serde(default, rename = "requestId")]
    request: Option<Value>,
}

impl AgentCalls {
    pub(super) fn listed(&self, caller: &str) -> Arc<LastList> {
        self.listed.lock().entry(caller.to_owned()).or_default().clone()
    }

    /// Adds the call that a message makes, or cancels the one that it names.
    pub(super) fn take(
        &self,
        caller: &str,
        headers: &HeaderMap,
        message: &MessageHead,
    ) -> Option<AgentCall> {
        let session = headers.get(SESSION)?.to_str().ok()?;
        if session.len() > MAX_SESSION {
            return None;
        }
        let name = |id: &Value| CallName {
            caller: caller.to_owned(),
            session: session.to_owned(),
            id: id.to_string(),
        };
        match message.method.as_deref() {
            Some("tools/call") => {
                let (name, cancelled) = (name(message.id.as_ref()?), CancellationToken::new());
                self.calls.lock().insert(name.clone(), cancelled.clone());
                Some(AgentCall { name, cancelled, calls: self.clone() })
            }
            Some("notifications/cancelled") => {
                let name = name(message.params.as_ref()?.request.as_ref()?);
                if let Some(call) = self.calls.lock().get(&name) {
                    call.cancel();
                }
                None
            }
            _ => None,
        }
    }
}

impl AgentCall {
    pub(super) async fn cancelled(&self) {
        self.cancelled.cancelled().await;
    }
}

impl Drop for AgentCall {
    fn drop(&mut self) {
        let mut calls = self.calls.calls.lock();
        // An agent that uses an id twice is not told which call it cancels.
        calls.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn take(calls: &AgentCalls, caller: &str, session: &str, message: Value) -> Option<AgentCall> {
        let headers = HeaderMap::from_iter([(SESSION.parse().unwrap(), session.parse().unwrap())]);
        calls.take(caller, &headers, &serde_json::from_value(message).unwrap())
    }

    fn call(id: Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": "f" } })
    }

    fn cancel(id: Value) -> Value {
        json!({ "method": "notifications/cancelled", "params": { "requestId": id } })
    }

    #[test]
    fn a_notification_cancels_the_call_of_its_caller_session_and_id() {
        let calls = AgentCalls::default();
        let running = take(&calls, "a", "s", call(json!(1))).unwrap();
        for (caller, session, id) in [
            ("b", "s", json!(1)),
            ("a", "t", json!(1)),
            ("a", "s", json!(2)),
            ("a", "s", json!("1")),
        ] {
            assert!(take(&calls, caller, session, cancel(id)).is_none());
            assert!(!running.cancelled.is_cancelled());
        }
        take(&calls, "a", "s", cancel(json!(1)));
        assert!(running.cancelled.is_cancelled());
        drop(running);
        assert!(calls.calls.lock().is_empty());
        take(&calls, "a", "s", cancel(json!(1)));
    }

    #[test]
    fn only_calls_of_a_session_can_be_cancelled_so() {
        let calls = AgentCalls::default();
        let message = serde_json::from_value(call(json!(1))).unwrap();
        assert!(calls.take("a", &HeaderMap::new(), &message).is_none());
        assert!(take(&calls, "a", &"s".repeat(129), call(json!(1))).is_none());
        assert!(take(&calls, "a", "s", json!({ "id": 1, "method": "tools/list" })).is_none());
        assert!(take(&calls, "a", "s", json!({ "method": "tools/call" })).is_none());
        assert!(calls.calls.lock().is_empty());
    }
}
