//! `/jobs`: calls that run without their caller.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use serde_json::{Value, json};

use crate::client::{JobId, JobStatus, JsonJob};
use crate::http::answer::{self, Routed, segment};
use crate::http::asked::{PathName, invalid, options};
use crate::http::asker::AskedBy;
use crate::http::calls::AskedCall;
use crate::http::guard::Site;
use crate::http::problem::Problem;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new()
        .route("/jobs", get(list))
        // The name of a function, or the id of a job.
        .route("/jobs/{name}", post(spawn).get(status).delete(cancel))
        .route("/jobs/{name}/result", get(result))
}

async fn spawn(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    PathName(function): PathName,
    headers: HeaderMap,
    body: Body,
) -> Routed {
    let AskedCall { call, items, charge: _charge } =
        AskedCall::read(&site, &asker, function, &headers, body).await?;
    if items.is_some() {
        return Err(invalid("a job takes no stream of items: its caller may leave"));
    }
    let job = call.spawn().await?;
    let location = format!("/jobs/{}", segment(&job.id().to_string()));
    let headers = [(header::LOCATION, location)];
    Ok((StatusCode::ACCEPTED, headers, Json(json!({ "id": job.id() }))).into_response())
}

async fn list(State(site): State<Arc<Site>>, Extension(asker): AskedBy) -> Routed {
    let jobs = site.client(&asker).await?.jobs().await?;
    let jobs: Vec<_> = jobs.iter().map(|job| described(&job.id, &job.status)).collect();
    Ok(Json(jobs).into_response())
}

async fn status(
    State(site): State<Arc<Site>>,
    asker: AskedBy,
    PathName(id): PathName,
    headers: HeaderMap,
) -> Routed {
    let job = job(&site, asker, &id, &headers).await?;
    let status = job.status().await?;
    Ok(Json(described(job.id(), &status)).into_response())
}

/// Waits for the end of the job. A caller that leaves ends the wait and nothing else.
async fn result(
    State(site): State<Arc<Site>>,
    asker: AskedBy,
    PathName(id): PathName,
    headers: HeaderMap,
) -> Routed {
    let job = job(&site, asker, &id, &headers).await?;
    answer::result(job.text().await)
}

async fn cancel(
    State(site): State<Arc<Site>>,
    asker: AskedBy,
    PathName(id): PathName,
    headers: HeaderMap,
) -> Routed {
    job(&site, asker, &id, &headers).await?.cancel().await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn job(
    site: &Site,
    Extension(asker): AskedBy,
    id: &str,
    headers: &HeaderMap,
) -> Result<JsonJob, Problem> {
    let (options, _) = options(headers)?;
    let id: JobId = id.parse()?;
    Ok(site.client(&asker).await?.with(options).job_json(&id))
}

fn described(id: &JobId, status: &JobStatus) -> Value {
    let progress = status.progress.as_ref().map(|progress| {
        json!({
            "fraction": progress.fraction,
            "text": progress.text,
            "since_seconds": progress.since.as_secs_f64(),
        })
    });
    json!({
        "id": id,
        "function": id.function(),
        "node": id.node(),
        "state": format!("{:?}", status.state),
        "since_seconds": status.since.as_secs_f64(),
        "progress": progress,
    })
}
