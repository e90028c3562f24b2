//! What of an answer reaches the caller: a node's server is trusted with nothing.

use easyremote::attach::LocalServer;

use crate::Site;
use crate::attach::model_server::ModelServer;
use crate::attach::{JSON, LONG, error_of};

const LINES: [&str; 2] = ["POST /v1/embeddings", "POST /attach/box/v1/embeddings"];

async fn answers(canned: impl Into<Vec<u8>>) -> [crate::exchange::Answer; 2] {
    let site = Site::start().await;
    let server = ModelServer::canned(&["a"], canned).await;
    let local = LocalServer::new(server.url()).head_timeout(LONG);
    let _box = site.attach_with("box", local, |node| node).await;
    let asked = LINES.map(async |line| site.ask(line, &[JSON], r#"{"model":"a"}"#).await);
    let mut asked = futures::future::join_all(asked).await.into_iter();
    [asked.next().unwrap(), asked.next().unwrap()]
}

#[tokio::test]
async fn a_hostile_answer_sets_nothing_on_the_gateways_origin() {
    let page = "<script>alert(1)</script>";
    let hostile = [
        "Set-Cookie: a=b; Path=/",
        "Set-Cookie2: a=b",
        "Access-Control-Allow-Origin: *",
        "Access-Control-Allow-Credentials: true",
        "Clear-Site-Data: \"*\"",
        "Alt-Svc: h3=\"evil.example:443\"",
        "Strict-Transport-Security: max-age=1",
        "Service-Worker-Allowed: /",
        "Refresh: 0; url=http://evil.example/",
        "Link: <http://evil.example/x.js>; rel=preload",
        "Location: http://evil.example/",
        "Content-Security-Policy: default-src *",
        "X-Frame-Options: ALLOWALL",
        "WWW-Authenticate: Basic realm=x",
        "X-Accel-Redirect: /etc/passwd",
        "Cache-Control: public, max-age=99999",
        "Referrer-Policy: unsafe-url",
        "X-Content-Type-Options: x",
        "Report-To: {}",
        "Connection: X-Y",
        "Server: evil",
        "Via: evil",
        "Easyremote-Node: evil",
    ];
    let head =
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{}\r\n", hostile.join("\r\n"));
    for answer in answers(format!("{head}Content-Length: {}\r\n\r\n{page}", page.len())).await {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html")));
        assert!(answer.body.contains(page));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("sandbox") && policy.contains("default-src 'none'"), "{policy}");
        let expected = [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
        ];
        for (name, value) in expected {
            assert_eq!(answer.header(name), Some(value), "{name}");
        }
        for name in hostile.map(|line| line.split(':').next().unwrap().to_ascii_lowercase()) {
            let ours =
                ["cache-control", "content-security-policy", "referrer-policy", "connection"];
            let kept = ours.contains(&&*name) || name == "x-content-type-options";
            assert_eq!(answer.header(&name).is_some(), kept, "{name}");
        }
    }
}

#[tokio::test]
async fn answers_that_lead_elsewhere_or_are_none_are_a_bad_gateway() {
    let flood = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: b\r\n".repeat(90));
    let huge = format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "b".repeat(40_000));
    let endless = format!("HTTP/1.1 200 OK\r\nX-A: {}", "b".repeat(4 << 20));
    for canned in [
        "HTTP/1.1 301 Moved\r\nLocation: http://10.0.0.1/\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /v1/models\r\n\r\n",
        "HTTP/1.1 307 Again\r\nLocation: http://169.254.169.254/\r\n\r\n",
        "HTTP/1.1 308 Again\r\nLocation: //evil\r\n\r\n",
        "HTTP/1.1 300 Many\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nxyz",
        "HTTP/1.1 407 Proxy\r\nProxy-Authenticate: Basic\r\n\r\n",
        "HTTP/1.1 999 Odd\r\n\r\n",
        "HTTP/1.1 42 Odd\r\n\r\n",
        "HTTP/9.9 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "{}",
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nA B: c\r\n\r\n",
        &flood,
        &huge,
        &endless,
    ] {
        for answer in answers(canned).await {
            let kind = answer.json()["kind"].clone();
            assert_eq!((answer.status, kind), (502, "BadResponse".into()), "{:.80}", canned);
        }
    }
}

#[tokio::test]
async fn errors_of_the_server_are_the_callers() {
    for status in [400, 401, 404, 422, 429, 500, 503] {
        let body = format!(r#"{{"error":{{"message":"no {status}"}}}}"#);
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nRetry-After: 7\r\n");
        for answer in answers(format!("{head}Content-Length: {length}\r\n\r\n{body}")).await {
            assert_eq!((answer.status, answer.header("retry-after")), (status, Some("7")));
            assert_eq!(error_of(&answer)["message"], format!("no {status}"));
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_not_taken_for_a_whole_one() {
    for rest in [
        "Content-Length: 9\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz",
    ] {
        let canned = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{rest}");
        for answer in answers(canned).await {
            assert_eq!(answer.status, 200);
            assert!(
                answer.body.contains("abc") && !answer.body.ends_with("0\r\n\r\n"),
                "{answer:?}"
            );
        }
    }
    // Half an event is left out, and one that says why comes in its place.
    let events = "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n7\r\ndata: 2\r\n";
    let canned = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{events}");
    let [openai, plain] = answers(canned).await;
    for (answer, beginning) in [(openai, "data: {"), (plain, "event: error\ndata: {")] {
        assert!(
            answer.body.contains("data: 1\n\n") && !answer.body.contains("data: 2"),
            "{answer:?}"
        );
        let (_, last) = answer.body.split_once(beginning).unwrap();
        assert!(last.contains(r#""kind":"BadResponse""#) && last.contains(r#""executed":"Yes""#));
        assert!(!answer.body.ends_with("0\r\n\r\n"), "{answer:?}");
    }
}
