//! Which headers of a request reach the server behind a node, and which of its answer the caller.

use std::collections::HashSet;

/// Headers of a request that are never forwarded, in lower case.
///
/// | why | which |
/// |---|---|
/// | they concern one connection, or are written anew (RFC 9110, 7.6.1) | `connection`, `keep-alive`, `te`, `trailer`, `transfer-encoding`, `upgrade`, `http2-settings`, `expect`, `content-length`, `host` |
/// | they are for the gateway | `authorization`, `cookie`, `cookie2`, `origin`, `referer` |
/// | they tell of the caller's network | `forwarded`, `via`, `x-real-ip`, `x-client-ip`, `x-cluster-client-ip`, `true-client-ip`, `cf-connecting-ip`, `fastly-client-ip` |
/// | frameworks take another method, path or host from them | `x-http-method`, `x-http-method-override`, `x-method-override`, `x-original-url`, `x-original-uri`, `x-rewrite-url`, `x-original-host`, `x-host` |
/// | the body of an answer is to come in the pieces in which it is made | `accept-encoding` |
/// | a CGI program would take it for its own setting | `proxy` |
const KEPT_BACK: &[&str] = &[
    "accept-encoding",
    "authorization",
    "cf-connecting-ip",
    "connection",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "fastly-client-ip",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy",
    "referer",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];

/// Beginnings of such names.
const KEPT_BACK_FROM: &[&str] = &["easyremote-", "proxy-", "sec-", "x-forwarded-"];

/// Headers of an answer that reach the caller; all others stay behind. A box must neither set a
/// cookie nor change how a browser treats the gateway's origin, and the list of headers that do
/// grows with each browser.
const PASSED: &[&str] = &[
    "accept-ranges",
    "age",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "retry-after",
    "x-request-id",
];

/// Beginnings of such names.
const PASSED_FROM: &[&str] = &["openai-", "x-ratelimit-"];

/// Most headers of a request or an answer.
pub(crate) const MAX_HEADERS: usize = 64;

/// Maximum length of the headers of a request or an answer, names and values, in bytes.
pub(crate) const MAX_HEADER_BYTES: usize = 32 << 10;

/// Returns the headers of a request that are forwarded. Names are in lower case; `connection` are
/// the values of the header of that name.
///
/// # Errors
/// What is wrong with the headers: they ask for another protocol, or are too many or too long.
pub(crate) fn inward(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    let is = |name: &str, wanted: &str| name == wanted;
    if headers.iter().any(|(name, _)| is(name, "upgrade")) {
        return Err("requests that ask for another protocol (`Upgrade`) are not forwarded".into());
    }
    check_size(&headers)?;
    let connection = headers.iter().filter(|(name, _)| is(name, "connection"));
    let named: HashSet<String> = connection
        .flat_map(|(_, value)| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let passes = |(name, _): &(String, String)| !named.contains(name) && !is_kept_back(name);
    Ok(headers.into_iter().filter(passes).collect())
}

fn is_kept_back(name: &str) -> bool {
    // Many servers know no difference between `_` and `-` (CGI, RFC 3875, 4.1.18).
    let name = name.replace('_', "-");
    KEPT_BACK.contains(&&*name) || KEPT_BACK_FROM.iter().any(|start| name.starts_with(start))
}

/// Returns the headers of an answer that reach the caller, each once. Names are in lower case.
///
/// # Errors
/// The headers are too many or too long.
pub(crate) fn outward(headers: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    check_size(&headers)?;
    let mut seen = HashSet::new();
    let mut passed = Vec::new();
    for (name, value) in headers {
        let passes = PASSED.contains(&&*name)
            || PASSED_FROM.iter().any(|beginning| name.starts_with(beginning));
        if passes && seen.insert(name.clone()) {
            passed.push((name, value));
        }
    }
    Ok(passed)
}

fn check_size(headers: &[(String, String)]) -> Result<(), String> {
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if headers.len() > MAX_HEADERS || bytes > MAX_HEADER_BYTES {
        return Err(format!(
            "there are more than {MAX_HEADERS} headers, or they have more than {MAX_HEADER_BYTES} \
             bytes"
        ));
    }
    Ok(())
}

/// Checks that an answer may have this status: no interim answer, no change of the protocol, and no
/// redirect, which could lead the caller's next request, with its bearer, elsewhere.
///
/// # Errors
/// Why it may not.
pub(crate) fn check_status(status: u16) -> Result<(), String> {
    match status {
        304 | 200..=299 | 400..=406 | 408..=599 => Ok(()),
        300..=399 => {
            Err(format!("the server answers with a redirect ({status}); none is followed"))
        }
        _ => Err(format!("the server answers with the status {status}, which is not passed on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_the_gateways_stays_there() {
        let kept =
            KEPT_BACK.iter().filter(|name| **name != "upgrade").map(|name| (*name).to_owned());
        let begun = KEPT_BACK_FROM.iter().map(|start| format!("{start}x"));
        for name in kept.chain(begun) {
            for name in [name.clone(), name.replace('-', "_")] {
                let headers = list(&[(&name, "1"), ("x-mine", "2")]);
                assert_eq!(inward(headers).unwrap(), list(&[("x-mine", "2")]), "{name}");
            }
        }
        let named = list(&[("connection", "close, X-Secret ,te"), ("x-secret", "1"), ("a", "b")]);
        assert_eq!(inward(named).unwrap(), list(&[("a", "b")]));
        let two = list(&[("connection", "x-a"), ("x-a", "1"), ("connection", "x-b"), ("x-b", "1")]);
        assert_eq!(inward(two).unwrap(), list(&[]));
    }

    #[test]
    fn what_asks_for_the_server_passes() {
        let headers = list(&[
            ("accept", "text/event-stream"),
            ("content-type", "application/json"),
            ("user-agent", "x"),
            ("x-api-key", "k"),
            ("openai-beta", "y"),
            ("idempotency-key", "z"),
            ("traceparent", "00-1"),
            ("range", "bytes=0-1"),
        ]);
        assert_eq!(inward(headers.clone()).unwrap(), headers);
    }

    #[test]
    fn other_protocols_and_floods_are_refused() {
        assert!(inward(list(&[("upgrade", "websocket")])).is_err());
        assert!(inward(list(&[("upgrade", "h2c")])).is_err());
        for flood in
            [vec![("a".to_owned(), String::new()); 65], list(&[("a", &"b".repeat(40_000))])]
        {
            assert!(inward(flood.clone()).is_err());
            assert!(outward(flood).is_err());
        }
    }

    #[test]
    fn an_answer_changes_nothing_about_the_gateways_origin() {
        for name in [
            "set-cookie",
            "set-cookie2",
            "access-control-allow-origin",
            "access-control-allow-credentials",
            "clear-site-data",
            "alt-svc",
            "strict-transport-security",
            "service-worker-allowed",
            "refresh",
            "link",
            "location",
            "content-location",
            "content-security-policy",
            "content-security-policy-report-only",
            "permissions-policy",
            "report-to",
            "nel",
            "reporting-endpoints",
            "x-frame-options",
            "cross-origin-opener-policy",
            "cross-origin-resource-policy",
            "origin-agent-cluster",
            "sourcemap",
            "x-sourcemap",
            "x-accel-redirect",
            "x-sendfile",
            "www-authenticate",
            "proxy-authenticate",
            "authentication-info",
            "public-key-pins",
            "expect-ct",
            "upgrade",
            "connection",
            "keep-alive",
            "transfer-encoding",
            "trailer",
            "content-length",
            "te",
            "via",
            "server",
            "x-powered-by",
            "easyremote-node",
            "speculation-rules",
            "vary",
            "cache-control",
            "referrer-policy",
            "x-content-type-options",
            "timing-allow-origin",
        ] {
            let headers = list(&[(name, "1"), ("content-type", "text/plain")]);
            assert_eq!(
                outward(headers).unwrap(),
                list(&[("content-type", "text/plain")]),
                "{name}"
            );
        }
    }

    #[test]
    fn each_header_of_an_answer_comes_once() {
        let headers = list(&[
            ("content-type", "text/plain"),
            ("content-type", "text/html"),
            ("x-ratelimit-remaining-requests", "1"),
            ("openai-processing-ms", "2"),
        ]);
        let passed = outward(headers.clone()).unwrap();
        assert_eq!(passed, [&headers[..1], &headers[2..]].concat());
    }

    #[test]
    fn only_final_answers_that_lead_nowhere_pass() {
        for status in 0..=1_000 {
            let passes = matches!(status, 200..=299 | 304 | 400..=599) && status != 407;
            assert_eq!(check_status(status).is_ok(), passes, "{status}");
        }
    }
}
