//! Which requests the local server gets.

use crate::error::{Error, ErrorKind};
use crate::function::forward::target;

/// Requests that are forwarded unless said otherwise: what clients of OpenAI-compatible servers
/// send. None of them changes the server.
const USUAL: &[&str] = &[
    "GET /v1/models",
    "GET /v1/models/*",
    "POST /v1/audio/*",
    "POST /v1/chat/completions",
    "POST /v1/completions",
    "POST /v1/embeddings",
    "POST /v1/images/edits",
    "POST /v1/images/generations",
    "POST /v1/images/variations",
    "POST /v1/messages",
    "POST /v1/moderations",
    "POST /v1/rerank",
    "POST /v1/responses",
    "POST /v1/score",
];

/// The requests that are forwarded.
#[derive(Debug)]
pub(super) struct AllowedRequests(Vec<AllowRule>);

/// Requests with one method and one path, or with any path that begins with one.
#[derive(Debug, PartialEq, Eq)]
struct AllowRule {
    method: String,
    path: String,
    or_longer: bool,
}

impl AllowedRequests {
    /// The usual requests, and those that `rules` add.
    ///
    /// # Errors
    /// `InvalidInput` if one of the rules is none.
    pub(super) fn new(rules: &[String]) -> Result<Self, Error> {
        let usual = USUAL.iter().map(|rule| AllowRule::read(rule));
        let added = rules.iter().map(|rule| AllowRule::read(rule));
        Ok(Self(usual.chain(added).collect::<Result<_, _>>()?))
    }

    /// Returns whether such a request is forwarded. The path is compared byte by byte, without
    /// decoding it.
    pub(super) fn contain(&self, method: &str, path: &str) -> bool {
        self.0.iter().any(|rule| rule.method == method && rule.fits(path))
    }
}

impl AllowRule {
    fn read(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| {
            let text = format!(
                "`{}` is not a rule for requests: {why}; write `GET /api/tags`, or `POST /api/*` for \
                 all paths that begin so",
                text.escape_debug()
            );
            Error::new(ErrorKind::InvalidInput, text)
        };
        let (method, path) = text.split_once(' ').ok_or_else(|| wrong("it has no path"))?;
        let (path, or_longer) = path.strip_suffix('*').map_or((path, false), |path| (path, true));
        if path.contains(['*', '?']) {
            return Err(wrong("a `*` may only be at its end, and there is no `?`"));
        }
        target::check(method, path).map_err(|why| wrong(&why))?;
        Ok(Self { method: method.to_owned(), path: path.to_owned(), or_longer })
    }

    fn fits(&self, path: &str) -> bool {
        if self.or_longer { path.starts_with(&self.path) } else { path == self.path }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(rules: &[&str]) -> AllowedRequests {
        let rules: Vec<_> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        AllowedRequests::new(&rules).unwrap()
    }

    #[test]
    fn the_usual_requests_are_those_of_clients() {
        let usual = allowed(&[]);
        for (method, path) in [
            ("GET", "/v1/models"),
            ("GET", "/v1/models/org/name:7b"),
            ("POST", "/v1/chat/completions"),
            ("POST", "/v1/audio/transcriptions"),
        ] {
            assert!(usual.contain(method, path), "{method} {path}");
        }
        for (method, path) in [
            ("GET", "/"),
            ("POST", "/v1/models"),
            ("DELETE", "/v1/models/x"),
            ("GET", "/v1/chat/completions"),
            ("POST", "/v1/chat/completions/"),
            ("POST", "/v1/chat/completions2"),
            ("POST", "/V1/chat/completions"),
            ("POST", "/v1/%63hat/completions"),
            ("POST", "/api/pull"),
            ("GET", "/v1/modelsx"),
            ("GET", "/metrics"),
        ] {
            assert!(!usual.contain(method, path), "{method} {path}");
        }
    }

    #[test]
    fn rules_add_requests() {
        let more = allowed(&["GET /api/tags", "POST /api/*", "DELETE /*"]);
        for (method, path) in [("GET", "/api/tags"), ("POST", "/api/chat"), ("DELETE", "/x")] {
            assert!(more.contain(method, path), "{method} {path}");
        }
        for (method, path) in [("GET", "/api/tags/"), ("POST", "/apis"), ("PUT", "/api/x")] {
            assert!(!more.contain(method, path), "{method} {path}");
        }
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for rule in [
            "",
            "GET",
            "/v1",
            "GET v1",
            "get /v1",
            "CONNECT /x",
            "TRACE /",
            "GET /a*b",
            "GET /a/**",
            "GET /a?b",
            "GET /../x",
            "GET  /x",
            "* /x",
            "GET /x y",
            "GET http://a/",
        ] {
            assert!(AllowedRequests::new(&[rule.to_owned()]).is_err(), "{rule}");
        }
    }
}
