//! `POST /mcp`: functions as tools of agents. What they see is in [`easyremote::mcp`](crate::mcp).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::routing::any;
use axum::{Extension, Router};

use crate::http::answer::Routed;
use crate::http::asked::{invalid, options};
use crate::http::asker::AskedBy;
use crate::http::body::RequestBody;
use crate::http::guard::Site;
use crate::mcp::{self, AgentCalls};

pub(super) fn routes() -> Router<Arc<Site>> {
    // The protocol's own answers to other methods say what agents expect.
    Router::new().route("/mcp", any(answer)).layer(Extension(AgentCalls::default()))
}

async fn answer(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    Extension(calls): Extension<AgentCalls>,
    request: Request,
) -> Routed {
    let (parts, body) = request.into_parts();
    let (options, key) = options(&parts.headers)?;
    if key.is_some() {
        return Err(invalid("an agent makes many calls, and a deduplication key is for one"));
    }
    // Charged until the answer begins.
    let (body, _charge) = RequestBody::new(body, &site.bodies).held().await?;
    let client = site.client(&asker).await?;
    let caller = format!("{}/{}", asker.caller.role.name(), asker.caller.identity);
    Ok(mcp::answer(client, options, &calls, &caller, parts, body).await)
}
