//! `/v1/*`: what clients of the OpenAI API ask for, from whichever attached server has the model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Extension, Json, Router};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::error::{Error, ErrorKind, Executed};
use crate::function::forward::{MODEL_TAG, RequestHead};
use crate::gauge::MemoryCharge;
use crate::http::answer::Routed;
use crate::http::asked::{BodyFailure, invalid, options};
use crate::http::asker::{AskedBy, Asker};
use crate::http::body::{BodyLimits, RequestBody};
use crate::http::forwarded::{self, Dialect};
use crate::http::guard::Site;
use crate::http::named_model::model_in;
use crate::http::problem::Problem;

/// Longest body of a request, in bytes: it is read for its model. All requests together hold at most
/// 16 such bodies.
const MAX_BODY: usize = 32 << 20;

/// From this length on, a body is searched for its model beside the server's thread.
const LONG_BODY: usize = 256 << 10;

/// Bytes of a body that travel as one item.
const PIECE: usize = 64 << 10;

/// Most nodes that are tried with a request that has certainly not reached a server.
const ATTEMPTS: u32 = 3;

/// Pause before another node is tried: a node whose server is gone loses its models meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// How the paths of this API begin.
const PREFIX: &str = "/v1/";

pub(super) fn routes() -> Router<Arc<Site>> {
    let router = Router::new().route("/v1/{*rest}", any(forward));
    router.layer(Extension(BodyLimits::new(MAX_BODY)))
}

/// Writes errors of these paths as clients of the API read them. Around everything else, so that the
/// guard's refusals are among them.
pub(super) async fn write_errors(request: Request, next: Next) -> Response {
    let is_here = request.uri().path().starts_with(PREFIX);
    let mut response = next.run(request).await;
    let problem = response.extensions_mut().remove::<Arc<Problem>>();
    if let Some(problem) = problem.filter(|_| is_here) {
        *response.body_mut() = Body::from(problem.openai());
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        // The official clients try again unless this says otherwise.
        let error = problem.error();
        let again = error.executed() == Executed::No
            && error.is_retryable()
            && problem.status() != StatusCode::NOT_FOUND;
        let again = HeaderValue::from_static(if again { "true" } else { "false" });
        headers.insert(HeaderName::from_static("x-should-retry"), again);
    }
    response
}

/// Dropped when the caller disconnects, which ends the request at the server behind the node.
async fn forward(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    Extension(limits): Extension<BodyLimits>,
    request: Request,
) -> Routed {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut head = forwarded::head(&parts, target, None)?;
    if let Some(answer) = list(&site, &asker, &head)? {
        return Ok(answer);
    }
    // Before a body is read for somebody who may not send it.
    site.gateway.forwarders_for(&asker.caller)?;
    let (bytes, charge) = RequestBody::new(body, &limits).held().await?;
    head.length = Some(bytes.len() as u64);
    let body = HeldBody { bytes, charge: Arc::new(charge) };
    let model = match body.model(&parts.headers).await? {
        Some(model) => Some(full_name(&models(&site, &asker)?, model)?),
        None => None,
    };
    send(&site, &asker, &parts.headers, &head, body, model).await
}

/// Returns the name of a model as a server lists it. Ollama lists `llama3.2:latest`, and takes
/// `llama3.2` for the same.
fn full_name(models: &Models, model: String) -> Result<String, Problem> {
    if models.contains_key(&model) {
        return Ok(model);
    }
    let latest = format!("{model}:latest");
    if models.contains_key(&latest) { Ok(latest) } else { Err(no_such_model(&model)) }
}

/// Makes the call, and again at another node as long as it has certainly not reached a server.
async fn send(
    site: &Site,
    asker: &Asker,
    headers: &HeaderMap,
    head: &RequestHead,
    body: HeldBody,
    model: Option<String>,
) -> Routed {
    let (options, key) = options(headers)?;
    if key.is_some() {
        return Err(invalid("`Easyremote-Key` is for calls with one result"));
    }
    let client = site.client(asker).await?.with(options);
    let mut attempt = 1;
    loop {
        let call = forwarded::call(&client, None, head.clone(), body.pieces());
        let call = match &model {
            Some(model) => call.tag(format!("{MODEL_TAG}{model}")),
            None => call,
        };
        let failed = match forwarded::answer(call, BodyFailure::default(), Dialect::OpenAi).await {
            Err(problem) if attempt < ATTEMPTS => problem,
            answer => return answer,
        };
        if !goes_elsewhere(failed.error()) {
            return Err(failed);
        }
        attempt += 1;
        sleep(PAUSE).await;
    }
}

/// Returns whether the request has not reached a server, and might reach another one.
fn goes_elsewhere(error: &Error) -> bool {
    use ErrorKind::{ConnectionLost, Draining, NodeLost, Unavailable};
    error.executed() == Executed::No
        && matches!(error.kind(), ConnectionLost | Draining | NodeLost | Unavailable)
}

/// The body of a request, all of it.
struct HeldBody {
    bytes: Bytes,
    charge: Arc<MemoryCharge>,
}

impl HeldBody {
    /// Returns the model that the body names.
    async fn model(&self, headers: &HeaderMap) -> Result<Option<String>, Problem> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (kind, bytes) = (kind.unwrap_or_default().to_owned(), self.bytes.clone());
        let found = if bytes.len() < LONG_BODY {
            model_in(&kind, &bytes)
        } else {
            let found = spawn_blocking(move || model_in(&kind, &bytes)).await;
            found.unwrap_or_else(|error| Err(error.to_string()))
        };
        found.map_err(invalid)
    }

    /// Returns the body in pieces, each of which keeps the charge.
    fn pieces(&self) -> impl Stream<Item = Bytes> + Send + 'static {
        let (bytes, charge) = (self.bytes.clone(), self.charge.clone());
        let starts = (0..bytes.len()).step_by(PIECE);
        stream::iter(starts.map(move |start| {
            let _charged = &charge;
            bytes.slice(start..bytes.len().min(start + PIECE))
        }))
    }
}

/// Models, and the nodes that have each.
type Models = BTreeMap<String, Vec<String>>;

/// The models of all nodes, for a caller who may use them.
fn models(site: &Site, asker: &Asker) -> Result<Models, Problem> {
    let mut models = Models::new();
    for node in site.gateway.forwarders_for(&asker.caller)? {
        for model in node.tags.iter().filter_map(|tag| tag.strip_prefix(MODEL_TAG)) {
            models.entry(model.to_owned()).or_default().push(node.id.clone());
        }
    }
    Ok(models)
}

/// Answers `GET /v1/models`, with the models of all nodes, and `GET /v1/models/{model}`.
fn list(site: &Site, asker: &Asker, head: &RequestHead) -> Result<Option<Response>, Problem> {
    let path = head.target.split('?').next().unwrap_or_default();
    let wanted = match path.strip_prefix("/v1/models") {
        Some("") => None,
        Some(rest) if rest.starts_with('/') => Some(&rest[1..]),
        _ => return Ok(None),
    };
    if head.method != Method::GET.as_str() {
        return Ok(None);
    }
    let models = models(site, asker)?;
    Ok(Some(match wanted {
        None => {
            let data: Vec<_> =
                models.iter().map(|(model, nodes)| described(model, nodes)).collect();
            Json(json!({ "object": "list", "data": data })).into_response()
        }
        Some(model) => {
            let nodes = models.get(model).ok_or_else(|| no_such_model(model))?;
            Json(described(model, nodes)).into_response()
        }
    }))
}

fn described(model: &str, nodes: &[String]) -> Value {
    // Nothing is known of when it was made; clients want a number.
    json!({ "id": model, "object": "model", "created": 0, "owned_by": "easyremote", "nodes": nodes })
}

fn no_such_model(model: &str) -> Problem {
    let model: String = model.chars().take(MAX_SHOWN).collect();
    let text = format!(
        "no attached server has the model `{}`; `GET /v1/models` lists those that there are",
        model.escape_debug()
    );
    Problem::with(StatusCode::NOT_FOUND, Error::new(ErrorKind::NoNode, text))
}

/// Most characters of a name that an error shows.
const MAX_SHOWN: usize = 128;
