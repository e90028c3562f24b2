//! `POST /ticket`: a stream for a browser's `EventSource`, which cannot send a bearer.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind};
use crate::http::answer::{Routed, segment};
use crate::http::asked::{AskedBody, PREFIX, arguments, invalid, options};
use crate::http::asker::{AskedBy, PageOrigin};
use crate::http::guard::{Site, bearer_of};
use crate::http::query::StreamQuery;
use crate::http::ticket_list::{LIFETIME, StreamTicket};

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/ticket", post(issue))
}

/// What a ticket is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TicketRequest {
    function: String,
    arguments: Option<Box<RawValue>>,
    #[serde(default)]
    query: String,
}

/// Most bytes of arguments that a ticket keeps.
const MAX_ARGUMENTS: usize = 64 << 10;

async fn issue(
    State(site): State<Arc<Site>>,
    Extension(asker): AskedBy,
    Extension(PageOrigin(origin)): Extension<PageOrigin>,
    headers: HeaderMap,
    body: Body,
) -> Routed {
    let body = AskedBody::read(&site.bodies, &headers, body).await?.arguments;
    let asked: TicketRequest = serde_json::from_str(body.get()).map_err(|error| {
        invalid(format!("write `{{\"function\": .., \"arguments\": .., \"query\": ..}}`: {error}"))
    })?;
    let given = asked.arguments.as_deref().map_or("[]", RawValue::get);
    if given.len() > MAX_ARGUMENTS {
        let text = format!("the arguments of a ticket have at most {MAX_ARGUMENTS} bytes");
        return Err(Error::new(ErrorKind::TooLarge, text).into());
    }
    if StreamQuery::parse(&asked.query)?.arguments.is_some() {
        return Err(invalid("the arguments of a ticket are the member `arguments`"));
    }
    // What is not valid is told now, to who can change it.
    let _ = options(&headers)?;
    let own =
        |name: &str| name.starts_with(PREFIX) || name == "traceparent" || name == "tracestate";
    let options = headers.iter().filter(|(name, _)| own(name.as_str()));
    let ticket = StreamTicket {
        bearer: bearer_of(&headers)?,
        asker,
        origin,
        arguments: arguments(given.as_bytes())?,
        query: asked.query,
        options: options.map(|(name, value)| (name.clone(), value.clone())).collect(),
        function: asked.function,
    };
    let path = segment(&ticket.function);
    let secret = site.tickets.add(ticket)?;
    let url = format!("/stream/{path}?ticket={secret}");
    let answer = json!({ "ticket": secret, "url": url, "expires_in": LIFETIME.as_secs() });
    Ok(Json(answer).into_response())
}
