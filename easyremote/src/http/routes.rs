//! What each request returns.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router, middleware};
use serde_json::json;

use crate::error::ErrorKind;
#[cfg(feature = "metrics")]
use crate::gateway::MetricsFormat;
#[cfg(feature = "mcp")]
use crate::http::agents;
use crate::http::answer::{Routed, json_text};
use crate::http::asker::AskedBy;
use crate::http::attached;
use crate::http::calls;
use crate::http::feed;
use crate::http::guard::{Site, guard};
use crate::http::jobs;
use crate::http::openai;
use crate::http::openapi::DocumentReader;
use crate::http::page;
use crate::http::problem::Problem;
use crate::http::{streams, tickets};

pub(super) fn router(site: Arc<Site>) -> Router {
    let router = Router::new();
    #[cfg(feature = "metrics")]
    let router = router.route("/metrics", get(metrics));
    #[cfg(feature = "mcp")]
    let router = router.merge(agents::routes());
    router
        .merge(page::routes())
        .route("/health", get(health))
        .route("/functions", get(functions))
        .route("/nodes", get(nodes))
        .route("/streams", get(streams))
        .route("/stats", get(stats))
        .merge(calls::routes())
        .merge(streams::routes())
        .merge(jobs::routes())
        .merge(tickets::routes())
        .merge(feed::routes())
        .merge(openai::routes())
        .merge(attached::routes())
        .route("/openapi.json", get(openapi))
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .layer(middleware::from_fn(openai::write_errors))
        .with_state(site)
}

async fn nothing() -> Problem {
    let text = "there is nothing at this path";
    Problem::new(StatusCode::NOT_FOUND, ErrorKind::InvalidInput, text)
}

async fn wrong_method() -> Problem {
    let text = "this path has another method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::InvalidInput, text)
}

/// For load balancers and supervisors: only the status counts.
async fn health(State(site): State<Arc<Site>>) -> Response {
    match site.gateway.is_serving() {
        true => Json(json!({ "status": "serving" })).into_response(),
        false => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            (status, Json(json!({ "status": "draining" }))).into_response()
        }
    }
}

async fn functions(State(site): State<Arc<Site>>, Extension(asker): AskedBy) -> Routed {
    Ok(json_text(site.gateway.functions_for(&asker.caller).await?))
}

async fn nodes(State(site): State<Arc<Site>>, Extension(asker): AskedBy) -> Routed {
    site.gateway.check_overseer(&asker.caller)?;
    Ok(json_text(site.gateway.nodes_for(&asker.caller).await?))
}

/// For generators of clients.
async fn openapi(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    headers: HeaderMap,
) -> Routed {
    let functions = site.gateway.functions_for(&asker.caller).await?;
    // The guard has compared it with those of this server.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_overseer = site.gateway.check_overseer(&asker.caller).is_ok();
    let reader = DocumentReader { server: site.url(host), is_overseer };
    Ok(json_text(site.openapi.text(functions, reader).await?))
}

async fn streams(State(site): State<Arc<Site>>, Extension(asker): AskedBy) -> Routed {
    site.gateway.check_overseer(&asker.caller)?;
    Ok(Json(site.gateway.streams()).into_response())
}

async fn stats(State(site): State<Arc<Site>>, Extension(asker): AskedBy) -> Routed {
    site.gateway.check_overseer(&asker.caller)?;
    let (gateway, functions) = (site.gateway.stats(), site.gateway.function_stats());
    Ok(Json(json!({ "gateway": gateway, "functions": functions })).into_response())
}

/// For Prometheus, which sends a bearer that its configuration names.
#[cfg(feature = "metrics")]
async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    headers: HeaderMap,
) -> Routed {
    site.gateway.check_overseer(&asker.caller)?;
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = MetricsFormat::of_accept(accepted.unwrap_or_default());
    let text = site.gateway.metrics(format);
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}
