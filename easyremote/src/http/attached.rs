//! `/attach/{name}/*`: whatever an attached server takes, under its name.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::routing::any;
use axum::{Extension, Router};
use futures::{Stream, StreamExt, stream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::{Error, ErrorKind};
use crate::http::answer::Routed;
use crate::http::asked::{BodyFailure, invalid, options};
use crate::http::asker::AskedBy;
use crate::http::forwarded::{self, Dialect};
use crate::http::guard::Site;
use crate::http::problem::Problem;

/// Longest body of a request, in bytes: 1 GiB. It is passed on as it comes, and not kept.
const MAX_BODY: u64 = 1 << 30;

/// Longest time without a byte of the body.
const IDLE: Duration = Duration::from_secs(60);

const PREFIX: &str = "/attach/";

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/attach/{*rest}", any(forward))
}

/// Dropped when the caller disconnects, which ends the request at the server behind the node.
async fn forward(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    request: Request,
) -> Routed {
    let (parts, body) = request.into_parts();
    let whole = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let named = whole.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
    let (name, path) = named.ok_or_else(|| invalid("write `/attach/NAME/` and a path"))?;
    let length = body.size_hint().exact();
    if length.is_some_and(|length| length > MAX_BODY) {
        return Err(too_large().into());
    }
    let head = forwarded::head(&parts, &format!("/{path}"), length)?;
    let (options, key) = options(&parts.headers)?;
    if key.is_some() {
        return Err(invalid("`Easyremote-Key` is for calls with one result"));
    }
    let client = site.client(&asker).await?.with(options);
    let (chunks, failing) = chunks(body);
    let call = forwarded::call(&client, Some(name), head, chunks);
    forwarded::answer(call, failing, Dialect::Plain).await
}

/// Returns the chunks of a body, and what ends them early. They wait forever then, so that the server
/// never takes a part for the whole.
fn chunks(body: Body) -> (impl Stream<Item = Bytes> + Send + 'static, BodyFailure) {
    let (failed, failing) = oneshot::channel();
    let start = (body.into_data_stream(), Some(failed), MAX_BODY);
    let chunks = stream::unfold(start, |(mut chunks, mut failed, left)| async move {
        let error = match timeout(IDLE, chunks.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(chunk))) => match left.checked_sub(chunk.len() as u64) {
                Some(left) => return Some((chunk, (chunks, failed, left))),
                None => too_large(),
            },
            Ok(Some(Err(error))) => {
                let text = "the body of the request has ended early";
                Error::new(ErrorKind::BadArguments, text).with_source(error)
            }
            Err(_) => {
                let text = format!("no byte of the body has arrived for {} s", IDLE.as_secs());
                Error::new(ErrorKind::DeadlineExceeded, text)
            }
        };
        if let Some(failed) = failed.take() {
            let _ = failed.send(Problem::from(error));
        }
        std::future::pending().await
    });
    (chunks, BodyFailure::when(failing))
}

fn too_large() -> Error {
    Error::new(ErrorKind::TooLarge, format!("the body is larger than {MAX_BODY} bytes"))
}
