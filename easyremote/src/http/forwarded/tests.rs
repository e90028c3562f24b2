use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::{Future, stream};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::function::forward::{
    AnswerHead, AnswerPart, ForwardCause, ForwardFailure, ForwardRequest,
};
use crate::function::handler;
use crate::function::registry::{Function, Functions};
use crate::gateway::Gateway;
use crate::http::{HttpOptions, HttpServer};
use crate::node::Node;
use crate::transport::auth::dial_options::DialOptions;
use crate::wire::control::Role;

type Parts = Vec<Result<AnswerPart, ForwardFailure>>;

async fn soon<F: Future>(event: F) -> F::Output {
    timeout(Duration::from_secs(20), event).await.expect("it takes too long")
}

/// A node that answers what no node of this library answers.
#[derive(Debug)]
struct HostileBox(Result<Parts, ForwardFailure>);

/// A gateway with such a node.
struct Rig {
    at: SocketAddr,
    bearer: String,
    _http: HttpServer,
    _node: Node,
    _gateway: Gateway,
    _state: TempDir,
}

impl Rig {
    async fn with(answer: Result<Parts, ForwardFailure>) -> Self {
        let state = tempfile::tempdir().unwrap();
        let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve();
        let gateway = soon(gateway).await.unwrap();
        let answering = handler::stream::<ForwardRequest, _>(|inputs, (_head,), sink| async move {
            let HostileBox(answer) = inputs.receiver::<HostileBox>();
            sink.forward(answer.clone().map(stream::iter)).await;
        });
        let function = Function::new::<ForwardRequest>(answering.needs_receiver::<HostileBox>());
        let node = Node::builder(gateway.local_addr())
            .dial(DialOptions::new().state_dir(state.path()))
            .id("box")
            .functions(Functions::from([function]))
            .instance("box", HostileBox(answer));
        let node = soon(node.serve()).await.unwrap();
        let http = soon(gateway.serve_http(HttpOptions::new("127.0.0.1:0"))).await.unwrap();
        let bearer = gateway.bearer(Role::Client, "default").unwrap().to_string();
        let at = http.local_addr();
        Self { at, bearer, _http: http, _node: node, _gateway: gateway, _state: state }
    }

    /// Returns all that the server says to a request.
    async fn ask(&self) -> String {
        let Self { at, bearer, .. } = self;
        let mut stream = TcpStream::connect(at).await.unwrap();
        let head =
            format!("GET /attach/box/x HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {bearer}");
        stream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // What came before a reset counts.
        let _ = soon(stream.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn head(status: u16, headers: &[(&str, &str)]) -> Result<AnswerPart, ForwardFailure> {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    Ok(AnswerPart::Head(AnswerHead { status, headers }))
}

fn body(text: &'static str) -> Result<AnswerPart, ForwardFailure> {
    Ok(AnswerPart::Body(Bytes::from_static(text.as_bytes())))
}

#[tokio::test]
async fn a_hostile_node_sets_no_header_that_is_not_listed() {
    let hostile = [
        ("content-type", "text/html"),
        ("set-cookie", "a=b"),
        ("Set-Cookie", "a=b"),
        ("SET-COOKIE", "a=b"),
        ("set-cookie ", "a=b"),
        ("access-control-allow-origin", "*"),
        ("location", "http://evil.example"),
        ("content-length", "3"),
        ("transfer-encoding", "gzip"),
        ("content-security-policy", "default-src *"),
        ("", "x"),
        ("a\r\nset-cookie: a=b\r\nx", "y"),
    ];
    let rig = Rig::with(Ok(vec![head(200, &hostile), body("<script>alert(1)</script>")])).await;
    let answer = rig.ask().await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 ok\r\n") && answer.ends_with("0\r\n\r\n"), "{answer}");
    for absent in ["a=b", "access-control", "location", "content-length", "gzip", "src *"] {
        assert!(!answer.contains(absent), "{absent}: {answer}");
    }
    assert!(answer.contains("content-security-policy: sandbox; default-src 'none'"), "{answer}");
}

#[tokio::test]
async fn what_is_no_answer_is_a_bad_gateway() {
    let long = "x".repeat(40_000);
    let many = vec![("x-request-id", "1"); 65];
    for parts in [
        vec![],
        vec![body("x")],
        vec![head(101, &[("upgrade", "x")])],
        vec![head(302, &[("location", "http://evil.example")])],
        vec![head(0, &[])],
        vec![head(1_000, &[])],
        vec![head(200, &[("content-type", "a\r\nset-cookie: a=b")])],
        vec![head(200, &[("x-request-id", "a\0b")])],
        vec![head(200, &[("x-request-id", &long)])],
        vec![head(200, &many)],
    ] {
        let shown = format!("{parts:?}");
        let answer = Rig::with(Ok(parts)).await.ask().await;
        assert!(answer.starts_with("HTTP/1.1 502 "), "{shown:.200}: {answer}");
        assert!(answer.contains(r#""kind":"BadResponse""#) && !answer.contains("set-cookie"));
    }
}

#[tokio::test]
async fn an_answer_that_goes_on_as_none_may_is_cut_off() {
    let broken = || Err(ForwardFailure::new(ForwardCause::BrokenOff, "gone\r\n\u{1b}[2J"));
    for rest in [vec![head(200, &[])], vec![broken()], vec![broken(), body("more")]] {
        for kind in ["text/plain", "text/event-stream"] {
            let parts =
                [vec![head(200, &[("content-type", kind)]), body("data: 1\n\n")], rest.clone()];
            let answer = Rig::with(Ok(parts.concat())).await.ask().await;
            assert!(answer.contains("data: 1\n\n") && !answer.contains("more"), "{answer}");
            assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
            assert_eq!(answer.contains("event: error"), kind.ends_with("stream"), "{answer}");
            assert!(!answer.contains('\u{1b}'), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_the_node_is_shown_as_one_line() {
    let refused = ForwardFailure::new(ForwardCause::NotAllowed, "no\r\nx: y\u{1b}[2J");
    let answer = Rig::with(Err(refused)).await.ask().await;
    assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("no x: y"), "{answer}");
    assert!(!answer.contains('\u{1b}') && !answer.contains("\\u001b"), "{answer}");
}
