//! What a request asks for: a function, its arguments and its client stream, and how it is called.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use futures::{FutureExt, Stream, stream};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use crate::client::{Options, Strategy, TraceContext};
use crate::error::{Error, ErrorKind, Executed};
use crate::gauge::MemoryCharge;
use crate::http::body::{BodyLimits, RequestBody};
use crate::http::problem::Problem;

/// The last segment of a path: the name of a function, or the id of a job.
pub(super) struct PathName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for PathName {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let named: Result<Path<String>, PathRejection> =
            Path::from_request_parts(parts, state).await;
        let Path(name) = named.map_err(|_| invalid("the name in the path is not UTF-8"))?;
        Ok(Self(name))
    }
}

/// Returns the problem for an invalid request.
pub(super) fn invalid(text: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Error::new(ErrorKind::InvalidInput, text).into()
}

/// The arguments in the body of a request, and the client stream that follows them.
#[derive(Debug)]
pub(super) struct AskedBody {
    pub(super) arguments: Box<RawValue>,
    /// The rest of a body of JSON lines.
    pub(super) items: Option<RequestBody>,
    /// Charges the arguments to the memory for bodies until the call has ended, or its stream is open:
    /// they may wait as long for a node.
    pub(super) charge: Option<MemoryCharge>,
}

/// How the body of a request is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    /// The arguments.
    Json,
    /// The arguments, and an item on each further line.
    Lines,
}

impl AskedBody {
    /// Reads the arguments of a call. Without a body there are none.
    ///
    /// # Errors
    /// If the body is of another type than JSON, is no JSON, or exceeds its limits.
    pub(super) async fn read(
        limits: &BodyLimits,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Self, Problem> {
        let kind = body_kind(headers)?;
        let mut body = RequestBody::new(body, limits);
        if kind == Some(BodyKind::Lines) {
            let line = body.first_line().await?;
            let line = line.ok_or_else(|| {
                invalid("the body has no line: the first one is the arguments, such as `[]`")
            })?;
            let charge = Some(body.charge_of(line.len())?);
            return Ok(Self { arguments: arguments(&line)?, items: Some(body), charge });
        }
        let (text, charge) = body.held().await?;
        match kind {
            _ if text.trim_ascii().is_empty() => Self::of(b"[]"),
            Some(_) => Ok(Self { charge: Some(charge), ..Self::of(&text)? }),
            None => Err(wrong_type()),
        }
    }

    /// Reads arguments that are not in a body.
    pub(super) fn of(text: &[u8]) -> Result<Self, Problem> {
        Ok(Self { arguments: arguments(text)?, items: None, charge: None })
    }
}

fn body_kind(headers: &HeaderMap) -> Result<Option<BodyKind>, Problem> {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Ok(None) };
    let kind = kind.to_str().unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") {
        Ok(Some(BodyKind::Json))
    } else if essence.eq_ignore_ascii_case("application/x-ndjson") {
        Ok(Some(BodyKind::Lines))
    } else {
        Err(wrong_type())
    }
}

/// What a page may send elsewhere without asking first, such as a form, is refused.
fn wrong_type() -> Problem {
    let text = "the body needs `Content-Type: application/json`, or `application/x-ndjson` for \
                arguments that a stream of items follows";
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorKind::InvalidInput, text)
}

/// Reads the arguments of a call: an array, by position, or an object, by name.
///
/// # Errors
/// If the text is no JSON, or something else.
pub(super) fn arguments(text: &[u8]) -> Result<Box<RawValue>, Problem> {
    let value = json(text).map_err(|why| invalid(format!("the arguments are no JSON: {why}")))?;
    match value.get().starts_with(['[', '{']) {
        true => Ok(value),
        false => Err(invalid("the arguments are an array, by position, or an object, by name")),
    }
}

fn json(text: &[u8]) -> Result<Box<RawValue>, String> {
    let value = serde_json::from_slice::<Box<RawValue>>(text);
    value.map_err(|error| error.to_string())
}

/// Returns the items in the rest of a body, and what ends them early. They wait forever then, so
/// that the function never takes a part for the whole.
pub(super) fn items(
    body: RequestBody,
) -> (impl Stream<Item = Box<RawValue>> + Send + 'static, BodyFailure) {
    let (failed, failing) = oneshot::channel();
    let items =
        stream::unfold((body, Some(failed), 0_u64), |(mut body, mut failed, n)| async move {
            let next = match body.line().await {
                Ok(None) => return None,
                Ok(Some(line)) => json(&line)
                    .map_err(|why| invalid(format!("item {n} of the body is no JSON: {why}"))),
                Err(problem) => Err(problem),
            };
            match next {
                Ok(item) => Some((item, (body, failed, n + 1))),
                Err(problem) => {
                    if let Some(failed) = failed.take() {
                        let _ = failed.send(problem);
                    }
                    std::future::pending().await
                }
            }
        });
    (items, BodyFailure::when(failing))
}

/// What may end a client stream early: its body fails.
#[derive(Debug, Default)]
pub(super) struct BodyFailure(Option<oneshot::Receiver<Problem>>);

impl BodyFailure {
    /// Fails when a problem comes.
    pub(super) fn when(failing: oneshot::Receiver<Problem>) -> Self {
        Self(Some(failing))
    }

    /// Resolves if the body fails, when the function may have begun. Stays pending without a body, and
    /// once it has been read.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Problem> {
        let Some(failing) = &mut self.0 else { return Poll::Pending };
        let ended = ready!(failing.poll_unpin(context));
        self.0 = None;
        let problem = ended.map(|problem| problem.with_executed(Executed::Maybe));
        problem.map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits until the body fails. Cancel safe.
    pub(super) async fn wait(&mut self) -> Problem {
        poll_fn(|context| self.poll(context)).await
    }
}

/// Prefix of the headers that say how a function is called.
pub(super) const PREFIX: &str = "easyremote-";

/// Returns the options in the headers of a request, and its deduplication key.
///
/// # Errors
/// If a header is unknown, or its value is not valid.
pub(super) fn options(headers: &HeaderMap) -> Result<(Options, Option<String>), Problem> {
    let (mut options, mut key) = (Options::new(), None);
    for (name, value) in headers {
        let Some(option) = name.as_str().strip_prefix(PREFIX) else { continue };
        let value = std::str::from_utf8(value.as_bytes());
        let value = value.map_err(|_| invalid(format!("the header `{name}` is not UTF-8")))?.trim();
        let list = || value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
        options = match option {
            "timeout" => options.timeout(duration(value).ok_or_else(|| {
                invalid(format!("`{name}` is a time such as `5s` or `500ms`, in seconds if bare"))
            })?),
            "node" => options.on(value),
            "tag" => list().fold(options, Options::tag),
            "prefer-tag" => list().fold(options, Options::prefer_tag),
            "sticky" => options.sticky(value),
            "strategy" => options.strategy(strategy(value).ok_or_else(|| {
                let known = "least-busy`, `round-robin`, `random` or `fastest";
                invalid(format!("`{name}` is `{known}`"))
            })?),
            "wait-for-node" if value == "true" => options.wait_for_node(),
            "wait-for-node" if value == "false" => options,
            "wait-for-node" => return Err(invalid(format!("`{name}` is `true` or `false`"))),
            "key" => {
                key = Some(value.to_owned());
                options
            }
            _ => match option.strip_prefix("metadata-") {
                Some(entry) => options.metadata(entry, value),
                None => return Err(invalid(format!("there is no header `{name}`"))),
            },
        };
    }
    // One that is not valid starts a trace of its own: W3C Trace Context, section 3.2.
    let context = text(headers, "traceparent").and_then(|it| it.parse::<TraceContext>().ok());
    if let Some(context) = context {
        let state = text(headers, "tracestate").unwrap_or_default();
        options = options.trace_context(context.with_tracestate(state));
    }
    Ok((options, key))
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Option<&'a str> {
    headers.get(HeaderName::from_static(name))?.to_str().ok()
}

fn strategy(name: &str) -> Option<Strategy> {
    Some(match name {
        "least-busy" => Strategy::LeastBusy,
        "round-robin" => Strategy::RoundRobin,
        "random" => Strategy::Random,
        "fastest" => Strategy::Fastest,
        _ => return None,
    })
}

/// Reads a time such as `500ms`, `1.5s`, `2m` or `1h`; a number alone is in seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    // Not as Rust reads numbers: `inf`, `NaN` and `+1` are none.
    let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = number.parse().ok().filter(|_| plain)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(list: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn times_are_written_in_one_way() {
        for (text, ms) in [
            ("5", 5_000),
            ("5s", 5_000),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("2m", 120_000),
            ("0", 0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_millis(ms)), "{text}");
        }
        for odd in ["", "s", "-1s", "+1s", "inf", "NaN", "1 s", "1x", "1e3", "1e400h", "１s"] {
            assert_eq!(duration(odd), None, "{odd}");
        }
    }

    #[test]
    fn each_header_sets_its_option() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let (read, key) = options(&headers(&[
            ("Easyremote-Timeout", "250ms"),
            ("Easyremote-Node", "gpu-1"),
            ("Easyremote-Tag", "gpu, eu"),
            ("Easyremote-Tag", "fast"),
            ("Easyremote-Prefer-Tag", "near"),
            ("Easyremote-Sticky", "user-17"),
            ("Easyremote-Strategy", "fastest"),
            ("Easyremote-Wait-For-Node", "true"),
            ("Easyremote-Key", "order-5"),
            ("Easyremote-Metadata-Tenant", "acme"),
            ("traceparent", trace),
            ("tracestate", "a=1"),
            ("X-Other", "ignored"),
        ]))
        .unwrap();
        let context: TraceContext = trace.parse().unwrap();
        let expected = Options::new()
            .timeout(Duration::from_millis(250))
            .on("gpu-1")
            .tag("gpu")
            .tag("eu")
            .tag("fast")
            .prefer_tag("near")
            .sticky("user-17")
            .strategy(Strategy::Fastest)
            .wait_for_node()
            .metadata("tenant", "acme")
            .trace_context(context.with_tracestate("a=1"));
        assert_eq!(read, expected);
        assert_eq!(key.as_deref(), Some("order-5"));
    }

    #[test]
    fn what_is_no_option_is_refused() {
        for (name, value) in [
            ("easyremote-timeout", "soon"),
            ("easyremote-strategy", "best"),
            ("easyremote-wait-for-node", "yes"),
            ("easyremote-tags", "gpu"),
            ("easyremote-", "1"),
        ] {
            assert!(options(&headers(&[(name, value)])).is_err(), "{name}");
        }
        for odd in ["00-0-0-01", "", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(options(&headers(&[("traceparent", odd)])).unwrap().0, Options::new());
        }
    }

    /// A call may wait for its node with them.
    #[tokio::test]
    async fn arguments_are_charged_until_their_call_has_ended() {
        let text = format!("[\"{}\"]", "x".repeat(96));
        for (kind, rest) in [("application/json", ""), ("application/x-ndjson", "\n")] {
            let limits = BodyLimits::new(text.len() + rest.len());
            let headers = headers(&[("content-type", kind)]);
            let mut held = Vec::new();
            let refused = loop {
                let body = Body::from(format!("{text}{rest}"));
                match AskedBody::read(&limits, &headers, body).await {
                    Ok(body) => held.push(body),
                    Err(problem) => break problem,
                }
                assert!(held.len() <= 16, "{kind}");
            };
            assert_eq!(refused.error().kind(), ErrorKind::Overloaded);
            held.clear();
            let body = Body::from(format!("{text}{rest}"));
            AskedBody::read(&limits, &headers, body).await.unwrap();
        }
    }

    #[test]
    fn arguments_are_a_list_or_an_object() {
        for fine in ["[]", "{}", " [1, {\"a\": 2}] ", "{\"n\": 123456789012345678901234567890}"] {
            assert_eq!(arguments(fine.as_bytes()).unwrap().get(), fine.trim());
        }
        for odd in ["", "1", "null", "\"[]\"", "[1", "[] []", "[\u{0}]"] {
            assert!(arguments(odd.as_bytes()).is_err(), "{odd}");
        }
    }

    #[test]
    fn bodies_are_of_two_types() {
        let kind = |text: &str| body_kind(&headers(&[("content-type", text)]));
        for json in ["application/json", "Application/JSON; charset=utf-8", "application/json;x"] {
            assert_eq!(kind(json).unwrap(), Some(BodyKind::Json), "{json}");
        }
        assert_eq!(kind("application/x-ndjson").unwrap(), Some(BodyKind::Lines));
        assert_eq!(body_kind(&HeaderMap::new()).unwrap(), None);
        for odd in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            assert!(kind(odd).is_err(), "{odd}");
        }
    }
}
