//! `POST /call/{function}`: one result.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Extension, Router};

use crate::http::answer::{self, Routed};
use crate::http::asked::{AskedBody, PathName, items, options};
use crate::http::asker::AskedBy;
use crate::http::guard::Site;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/call/{function}", post(call))
}

/// Dropped when the caller disconnects, which cancels the call.
async fn call(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    PathName(function): PathName,
    headers: HeaderMap,
    body: Body,
) -> Routed {
    let (options, key) = options(&headers)?;
    let asked = AskedBody::read(&site.bodies, &headers, body).await?;
    let client = site.client(&asker).await?.with(options);
    let mut call = client.call_text(function, asked.arguments);
    if let Some(key) = key {
        call = call.key(key);
    }
    let result = match asked.items {
        None => call.text().await,
        Some(body) => {
            let (items, mut failing) = items(body);
            tokio::select! {
                result = call.items_text(items).text() => result,
                problem = failing.wait() => return Err(problem),
            }
        }
    };
    answer::result(result)
}
