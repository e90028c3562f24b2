//! Agents that make HTTP requests: the "streamable HTTP" transport of the protocol, without sessions.

use std::sync::Arc;

use axum::body::Body;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response};
use bytes::Bytes;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};

use crate::client::{Client, Options};
use crate::mcp::agent_calls::{AgentCalls, MessageHead, SESSION};
use crate::mcp::bridge::ToolServer;

/// Answers the request of an agent of the identity `caller`, with the calls of `client`.
///
/// The caller of this has checked `Host`, `Origin`, bearer, and the size of the body. Dropping the
/// future, or the body of the response, cancels the call.
pub(crate) async fn answer(
    client: Client,
    options: Options,
    calls: &AgentCalls,
    caller: &str,
    mut parts: Parts,
    body: Bytes,
) -> Response<Body> {
    let head = serde_json::from_slice::<MessageHead>(&body).ok();
    let call = head.as_ref().and_then(|head| calls.take(caller, &parts.headers, head));
    let begins = head.is_some_and(|head| head.method.as_deref() == Some("initialize"));
    // Only the guard needs it.
    parts.headers.remove(AUTHORIZATION);
    let server = ToolServer::of_request(client, options, call, calls.listed(caller));
    let service = StreamableHttpService::new(
        move || Ok(server.clone()),
        Arc::new(NeverSessionManager::default()),
        StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            // The guard has a list of its own, and so has it for `Origin`.
            .disable_allowed_hosts()
            .disable_allowed_origins()
            .with_max_request_body_bytes(usize::MAX),
    );
    let mut response = service.handle(Request::from_parts(parts, Body::from(body))).await;
    if begins && response.status().is_success() {
        let session = format!("{:032x}", rand::random::<u128>());
        if let Ok(session) = HeaderValue::from_str(&session) {
            response.headers_mut().insert(SESSION, session);
        }
    }
    response.map(Body::new)
}
