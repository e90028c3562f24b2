//! The page: one document that shows what runs here, and lets functions be tried.
//!
//! It has no data of its own, so it needs no bearer; its script asks for everything with one. The
//! parts in `page/` are put together once. The policy names the hashes of the style and of the
//! script, so that a browser runs these and nothing that a peer may have sent.

use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{SHA256, digest};

use crate::http::guard::Site;

pub(super) fn routes() -> Router<Arc<Site>> {
    Router::new().route("/", get(page))
}

async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CONTENT_SECURITY_POLICY, PAGE.policy.clone()),
    ];
    (headers, PAGE.document.clone()).into_response()
}

/// The document, and what a browser may do with it.
struct Page {
    document: Bytes,
    policy: HeaderValue,
}

impl Page {
    fn new() -> Self {
        let script = SCRIPT.concat();
        let document = DOCUMENT.replace("{{style}}", STYLE).replace("{{script}}", &script);
        let (script, style) = (hash(&script), hash(STYLE));
        let policy = format!(
            "default-src 'none'; script-src {script}; style-src {style}; img-src data:; \
             connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'"
        );
        // Hashes in Base64 and the text above are visible ASCII.
        let policy = HeaderValue::try_from(policy).expect("a policy is ASCII");
        Self { document: document.into(), policy }
    }
}

/// Returns the source of a policy that allows exactly this text (CSP Level 3, section 2.3.1).
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

static PAGE: LazyLock<Page> = LazyLock::new(Page::new);

const DOCUMENT: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
/// One module; each part uses those before it.
const SCRIPT: [&str; 12] = [
    include_str!("page/dom.js"),
    include_str!("page/feed.js"),
    include_str!("page/model.js"),
    include_str!("page/table.js"),
    include_str!("page/sections.js"),
    include_str!("page/verdict.js"),
    include_str!("page/form.js"),
    include_str!("page/chart.js"),
    include_str!("page/run.js"),
    include_str!("page/panel.js"),
    include_str!("page/node.js"),
    include_str!("page/main.js"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_policy_allows_its_style_and_its_script() {
        let document = std::str::from_utf8(&PAGE.document).unwrap();
        let policy = PAGE.policy.to_str().unwrap();
        for (start, end) in [("<style>", "</style>"), ("<script type=\"module\">", "</script>")] {
            // One of each: what ends one early would not be covered by its hash.
            assert_eq!((document.matches(start).count(), document.matches(end).count()), (1, 1));
            let (_, rest) = document.split_once(start).unwrap();
            let (text, _) = rest.split_once(end).unwrap();
            assert!(policy.contains(&hash(text)), "{start}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'));
    }

    #[test]
    fn it_is_one_document() {
        let document = std::str::from_utf8(&PAGE.document).unwrap();
        for other in ["{{", "src=\"", "url(", "@import", "import(", "import {"] {
            assert!(!document.contains(other), "{other}");
        }
        // A parser of HTML turns it into another character before it hashes.
        assert!(!document.contains('\r'));
    }
}
