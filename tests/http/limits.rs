//! What a connection may cost, and what ends it.

use std::time::Duration;

use common::offered::{self, wait};
use common::{Probe, SayOnDrop, soon};
use easyremote::http::HttpOptions;
use easyremote::{Client, ErrorKind, Gateway, Node, Role, functions, remote};
use futures::{Stream, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Site;
use crate::exchange::{Live, get, on, send};

#[tokio::test]
async fn headers_have_a_limit() {
    let site = Site::start().await;
    let at = site.address();
    for filler in
        ["x".repeat(100_000), "A: b\r\n".repeat(100), format!("{}: x\r\n", "A".repeat(70_000))]
    {
        let request = format!("GET /health HTTP/1.1\r\nHost: {at}\r\n{filler}\r\n\r\n");
        let answer = send(at, request.as_bytes()).await;
        let status = answer.map_or(431, |answer| answer.status);
        assert!([400, 431].contains(&status), "{status}");
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: {at}\r\n\r\n", "a".repeat(100_000));
    let status = send(at, long.as_bytes()).await.map_or(414, |answer| answer.status);
    assert!([414, 431].contains(&status), "{status}");
    assert_eq!(get(at, "/health", &[]).await.status, 200);
}

/// A connection whose request does not arrive is closed, also one that is idle.
#[tokio::test]
async fn slow_requests_are_not_waited_for() {
    let site = Site::start().await;
    let at = site.address();
    let beginnings = ["", "GET /hea", "GET /health HTTP/1.1\r\nHost: a\r\nX"];
    let closed = beginnings.map(async |beginning| {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        // Both a close and a 408 are an end.
        let _ = soon(stream.read_to_end(&mut rest)).await;
    });
    futures::future::join_all(closed).await;
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let site = Site::with(|gateway| gateway, |options| options.connections(1)).await;
    let at = site.address();
    let mut first = TcpStream::connect(at).await.unwrap();
    let request = format!("GET /health HTTP/1.1\r\nHost: {at}\r\n\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    let mut byte = [0];
    soon(first.read_exact(&mut byte)).await.unwrap();
    let second = tokio::spawn(async move { get(at, "/health", &[]).await.status });
    // The first one is served as long as it asks.
    let last = request.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    on(&mut first, last.as_bytes()).await.unwrap();
    assert!(!second.is_finished());
    drop(first);
    assert_eq!(soon(second).await.unwrap(), 200);
}

#[tokio::test]
async fn bytes_that_are_no_requests_harm_nobody() {
    let site = Site::start().await;
    let (at, mut random) = (site.address(), fastrand::Rng::with_seed(16));
    let good = format!("GET /health HTTP/1.1\r\nHost: {at}\r\n\r\n").into_bytes();
    for _ in 0..200 {
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..6) {
            let n = random.usize(..bytes.len());
            match random.u8(..3) {
                0 => bytes[n] = random.u8(..),
                1 => drop(bytes.remove(n)),
                _ => bytes.insert(n, random.u8(..)),
            }
        }
        let mut stream = TcpStream::connect(at).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
    }
    // Two ideas of where a request ends.
    for odd in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Content-Length: +1\r\n",
        "Content-Length : 1\r\n",
        " Host: evil.example\r\n",
    ] {
        let admin = site.bearer(Role::Admin);
        let smuggled = format!("GET /nodes HTTP/1.1\r\nHost: {at}\r\n{admin}\r\n\r\n");
        let request = format!("GET /health HTTP/1.1\r\nHost: {at}\r\n{odd}\r\n0\r\n\r\n{smuggled}");
        let Ok(answer) = send(at, request.as_bytes()).await else { continue };
        assert!(answer.status >= 400 || !answer.body.contains("nodes"), "{odd}: {answer:?}");
    }
    assert_eq!(get(at, "/health", &[]).await.status, 200);
}

#[tokio::test]
async fn the_server_says_that_its_gateway_drains_and_ends_with_it() {
    let Site { gateway, http, .. } = Site::start().await;
    let at = http.local_addr();
    let _node = soon(Node::serve(gateway.ticket(Role::Node), offered::functions())).await.unwrap();
    let client = soon(Client::connect(gateway.ticket(Role::Client))).await.unwrap();
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(soon(probe.next()).await, "started");
    let draining = tokio::spawn(async move { gateway.drain(Duration::from_secs(60)).await });
    soon(async { while get(at, "/health", &[]).await.status == 200 {} }).await;
    assert_eq!(get(at, "/health", &[]).await.status, 503);
    assert_eq!(get(at, "/health", &[]).await.json()["status"], "draining");
    call.abort();
    soon(draining).await.unwrap();
    soon(async { while TcpStream::connect(at).await.is_ok() {} }).await;
    soon(http.shutdown()).await;
}

#[tokio::test]
async fn a_server_ends_alone_and_frees_its_port() {
    let Site { gateway, http, state } = Site::start().await;
    let at = http.local_addr();
    soon(http.shutdown()).await;
    let again = soon(gateway.serve_http(HttpOptions::new(at))).await.unwrap();
    assert_eq!(get(at, "/health", &[]).await.status, 200);
    let error = soon(gateway.serve_http(HttpOptions::new(at))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    drop(again);
    soon(async { while TcpStream::connect(at).await.is_ok() {} }).await;
    let other =
        soon(Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve()).await.unwrap();
    let _again = soon(other.serve_http(HttpOptions::new(at))).await.unwrap();
    let ticket = gateway.ticket(Role::Client).to_string();
    for odd in ["127.0.0.1", "127.0.0.1:99999", "", &ticket] {
        let error = soon(gateway.serve_http(HttpOptions::new(odd))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{odd}");
        assert!(!error.to_string().contains("token"), "it may be a secret: {error}");
    }
    let nowhere = HttpOptions::new("nowhere.invalid:80");
    let error = soon(gateway.serve_http(nowhere)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

/// Fills what lies between a function and its reader.
#[remote(stream)]
fn flood(probe: u64) -> impl Stream<Item = String> {
    let says = SayOnDrop(probe, "dropped");
    stream::repeat_with(move || {
        let _says = &says;
        "x".repeat(1 << 16)
    })
}

#[tokio::test]
async fn a_reader_that_takes_nothing_is_left() {
    let stall = Duration::from_millis(200);
    let site = Site::with(|gateway| gateway, |options| options.stall_timeout(stall)).await;
    let _node =
        soon(Node::serve(site.gateway.ticket(Role::Node), functions![flood])).await.unwrap();
    let (at, bearer) = (site.address(), site.bearer(Role::Client));
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let mut probe = Probe::new();
        let path = format!("/stream/flood?arguments=[{}]", probe.key);
        let text =
            format!("GET {path} HTTP/1.1\r\nHost: {at}\r\n{bearer}\r\nAccept: {accept}\r\n\r\n");
        let live = Live::open(at, &text).await;
        assert_eq!(live.status, 200);
        assert_eq!(soon(probe.next()).await, "dropped", "{accept}");
    }
}

#[tokio::test]
async fn an_identity_has_its_rate_of_requests() {
    let site = Site::with(
        |gateway| gateway.token(Role::Client, "one").token(Role::Client, "other"),
        |options| options.rate(3),
    )
    .await;
    let (at, one) = (site.address(), site.bearer_of(Role::Client, "one"));
    let mut refused = None;
    for _ in 0..50 {
        let answer = get(at, "/functions", &[&one]).await;
        if answer.status == 429 {
            refused = Some(answer);
            break;
        }
        assert_eq!(answer.status, 200);
    }
    let refused = refused.expect("50 requests within a second, or a very slow machine");
    assert_eq!(refused.json()["kind"], "Overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    let other = site.bearer_of(Role::Client, "other");
    assert_eq!(get(at, "/functions", &[&other]).await.status, 200);
}
