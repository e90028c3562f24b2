//! `POST /call/{function}`: one result.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Extension, Router};

use crate::client::JsonCall;
use crate::gauge::MemoryCharge;
use crate::http::answer::{self, Routed};
use crate::http::asked::{AskedBody, PathName, items, options};
use crate::http::asker::{AskedBy, Asker};
use crate::http::body::RequestBody;
use crate::http::guard::Site;
use crate::http::problem::Problem;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/call/{function}", post(call))
}

/// A call that a request asks for, which has not begun.
pub(super) struct AskedCall {
    pub(super) call: JsonCall,
    /// The body with its client stream.
    pub(super) items: Option<RequestBody>,
    /// Charges the arguments until the call has ended.
    pub(super) charge: Option<MemoryCharge>,
}

impl AskedCall {
    /// Reads the options of the call and its arguments.
    ///
    /// # Errors
    /// If they are not valid, and those of the client that makes the call.
    pub(super) async fn read(
        site: &Site,
        asker: &Asker,
        function: String,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Problem> {
        let (options, key) = options(headers)?;
        let asked = AskedBody::read(&site.bodies, headers, body).await?;
        let client = site.client(asker).await?.with(options);
        let mut call = client.call_text(function, asked.arguments);
        if let Some(key) = key {
            call = call.key(key);
        }
        Ok(Self { call, items: asked.items, charge: asked.charge })
    }
}

/// Dropped when the caller disconnects, which cancels the call.
async fn call(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    PathName(function): PathName,
    headers: HeaderMap,
    body: Body,
) -> Routed {
    let AskedCall { call, items: body, charge: _charge } =
        AskedCall::read(&site, &asker, function, &headers, body).await?;
    let result = match body {
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
