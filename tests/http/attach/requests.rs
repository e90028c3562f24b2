//! What of a request reaches the server.

use std::sync::atomic::Ordering;

use common::authority::Authority;
use common::{soon, until};
use easyremote::Role;
use easyremote::attach::LocalServer;
use easyremote::http::HttpOptions;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::Site;
use crate::attach::model_server::ModelServer;
use crate::attach::{JSON, error_of};
use crate::exchange::request;

#[tokio::test]
async fn headers_that_are_not_for_the_server_stay_behind() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let local = LocalServer::new(server.url()).header("X-Key", "of the box");
    let _box = site.attach_with("box", local, |node| node).await;
    let sent = [
        JSON,
        "X-Key: of the caller",
        "Cookie: session=1",
        "Forwarded: for=10.0.0.1",
        "X-Forwarded-For: 10.0.0.1",
        "X-Forwarded-Host: elsewhere",
        "X_Forwarded_Proto: https",
        "X-Real-Ip: 10.0.0.1",
        "X-HTTP-Method-Override: DELETE",
        "X-Original-URL: /api/pull",
        "Easyremote-Timeout: 600s",
        "Easyremote-Tag: model:a",
        "TE: trailers",
        "Keep-Alive: timeout=5",
        "Proxy-Authorization: Basic eDp5",
        "Proxy: http://10.0.0.1",
        "Accept-Encoding: gzip",
        "Connection: X-Named",
        "X-Named: 1",
        "X-Mine: 2",
        "User-Agent: test",
    ];
    for line in ["POST /v1/embeddings", "POST /attach/box/v1/embeddings"] {
        let answer = site.ask(line, &sent, r#"{"model":"a"}"#).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let arrived = server.seen.asked().pop().unwrap();
        let mut headers: Vec<_> =
            arrived.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        headers.sort();
        let host = format!("host: {}", server.address);
        let expected = [
            "content-length: 13",
            "content-type: application/json",
            &*host,
            "user-agent: test",
            "x-key: of the box",
            "x-mine: 2",
        ];
        assert_eq!(headers, expected, "{line}");
        assert_eq!(arrived.line, "POST /v1/embeddings HTTP/1.1");
        assert_eq!(arrived.body, br#"{"model":"a"}"#);
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_listed_do_not_reach_it() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let local = LocalServer::new(server.url()).allow("GET /files/*").allow("DELETE /one");
    let _box = site.attach_with("box", local, |node| node).await;
    let tricks = [
        "..",
        "%2e%2e",
        ".%2E",
        "%252e%252e",
        "..;",
        "a%2fb",
        "a%5Cb",
        "a\\b",
        "%00",
        "%c0%ae",
        "%zz",
        "",
    ];
    let mut refused: Vec<_> = tricks.iter().map(|trick| format!("GET /files/{trick}/x")).collect();
    let others = [
        "GET /",
        "GET /other",
        "POST /files/x",
        "DELETE /one/",
        "DELETE /onE",
        "GET /%66iles/x",
        "PUT /one",
        "POST /v1/models",
        "DELETE /v1/models/a",
        "POST /v1/fine_tuning/jobs",
        "TRACE /files/x",
        "get /files/x",
    ];
    refused.extend(others.map(str::to_owned));
    for line in refused {
        let line = line.replace(" /", " /attach/box/");
        let answer = site.ask(&line, &[], "").await;
        assert!([400, 403, 405].contains(&answer.status), "{line}: {answer:?}");
    }
    for line in [
        "GET /attach/box",
        "GET /attach/",
        "GET /attach/nothing/v1/models",
        "GET /attach/b%6fx/files/x",
    ] {
        let answer = site.ask(line, &[], "").await;
        assert!([400, 404].contains(&answer.status), "{line}: {answer:?}");
    }
    assert_eq!(server.seen.asked().len(), 0);
    for line in
        ["GET /files/a%20b?x=../..", "GET /files/..a/b.", "DELETE /one", "OPTIONS /v1/models"]
    {
        let answer = site.ask(&line.replace(" /", " /attach/box/"), &[], "").await;
        assert_eq!(
            answer.status,
            if line.starts_with("OPTIONS") { 403 } else { 200 },
            "{line}: {answer:?}"
        );
    }
    let lines: Vec<_> = server.seen.asked().iter().map(|asked| asked.line.clone()).collect();
    let expected =
        ["GET /files/a%20b?x=../.. HTTP/1.1", "GET /files/..a/b. HTTP/1.1", "DELETE /one HTTP/1.1"];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn requests_for_anything_else_than_http_are_refused() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    let (host, bearer) = (site.address(), site.bearer(Role::Client));
    for line in ["GET http://HOST/v1/embeddings", "POST http://HOST/attach/box/v1/embeddings"] {
        let answer = site.ask(&line.replace("HOST", &host.to_string()), &[JSON], "{}").await;
        assert_eq!(answer.status, 400, "{line}: {answer:?}");
    }
    for upgrade in ["websocket", "h2c", "TLS/1.2"] {
        let headers = [&*format!("Upgrade: {upgrade}"), "Connection: Upgrade", JSON];
        for line in ["POST /v1/embeddings", "POST /attach/box/v1/embeddings"] {
            let answer = site.ask(line, &headers, r#"{"model":"a"}"#).await;
            assert_eq!(answer.status, 400, "{line} {upgrade}: {answer:?}");
        }
    }
    let connect =
        request(host, "CONNECT", "10.0.0.1:80", &[&format!("Host: {host}"), &bearer]).await;
    assert!(connect.status >= 400, "{connect:?}");
    assert_eq!(server.seen.asked().len(), 0);
}

#[tokio::test]
async fn a_body_for_a_model_has_a_limit() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let _box = site.attach("box", &server).await;
    let start = r#"{"model":"a","input":""#;
    let padding = |bytes: usize| "x".repeat(bytes - start.len() - 2);
    let fits = format!("{start}{}\"}}", padding(32 << 20));
    let answer = site.ask("POST /v1/embeddings", &[JSON], &fits).await;
    assert_eq!((answer.status, answer.json()["length"].as_u64()), (200, Some(32 << 20)));
    let answer = site.ask("POST /v1/embeddings", &[JSON], &format!("{fits} ")).await;
    assert_eq!((answer.status, error_of(&answer)["kind"].as_str()), (413, Some("TooLarge")));
}

/// What the server does not read waits at the sender.
#[tokio::test]
async fn an_upload_is_not_kept_anywhere() {
    let site = Site::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = LocalServer::new(format!("http://{}", listener.local_addr().unwrap()));
    let local = local.allow("PUT /files/*");
    let taking_models = async {
        let (stream, _) = soon(listener.accept()).await.unwrap();
        drop(stream);
    };
    let (_box, ()) = futures::join!(site.attach_with("box", local, |node| node), taking_models);
    let mut sender = TcpStream::connect(site.address()).await.unwrap();
    let total: usize = 256 << 20;
    let head = site.request("PUT /attach/box/files/x", &[&format!("Content-Length: {total}")], "");
    sender.write_all(head.as_bytes()).await.unwrap();
    let (stream, _) = soon(listener.accept()).await.unwrap();
    let piece = vec![7; 1 << 20];
    let mut sent = 0;
    // Ends when nothing goes on: the receiver reads nothing.
    while tokio::time::timeout(std::time::Duration::from_secs(2), sender.write_all(&piece))
        .await
        .is_ok()
    {
        sent += piece.len();
        assert!(sent < 64 << 20, "{sent} bytes are kept somewhere");
    }
    drop(sender);
    // The server is told that there is no more.
    let mut stream = tokio::io::BufReader::new(stream);
    let _ = soon(tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut Vec::new())).await;
}

#[tokio::test]
async fn uploads_arrive_whole_in_any_framing() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let local = LocalServer::new(server.url()).allow("PUT /files/*");
    let _box = site.attach_with("box", local, |node| node).await;
    for size in [0, 1, 65_536, 3 << 20] {
        let body = "y".repeat(size);
        let answer = site.ask("PUT /attach/box/files/x", &[], &body).await;
        assert_eq!(answer.json()["length"].as_u64(), Some(size as u64), "{answer:?}");
        let pieces = body.as_bytes().chunks(100_000);
        let chunked: String = pieces
            .map(|piece| format!("{:x}\r\n{}\r\n", piece.len(), String::from_utf8_lossy(piece)))
            .collect();
        let head = site.request("PUT /attach/box/files/x", &["Transfer-Encoding: chunked"], "");
        let whole = format!("{head}{chunked}0\r\n\r\n");
        let answer = site.send(&whole).await;
        assert_eq!(answer.json()["length"].as_u64(), Some(size as u64), "{answer:?}");
        let arrived = server.seen.asked().pop().unwrap();
        assert_eq!(arrived.body.len(), size);
    }
}

/// A caller that leaves in the middle of its body: the server never takes a part for the whole.
#[tokio::test]
async fn half_a_body_is_not_a_body() {
    let site = Site::start().await;
    let server = ModelServer::start(&["a"]).await;
    let local = LocalServer::new(server.url()).allow("PUT /files/*");
    let _box = site.attach_with("box", local, |node| node).await;
    for framing in ["Content-Length: 100", "Transfer-Encoding: chunked"] {
        let before = server.seen.read.load(Ordering::SeqCst);
        let head = site.request("PUT /attach/box/files/x", &[framing], "");
        let mut sender = TcpStream::connect(site.address()).await.unwrap();
        let start = if framing.ends_with("chunked") { "5\r\nabcde\r\n" } else { "abcde" };
        sender.write_all(format!("{head}{start}").as_bytes()).await.unwrap();
        until(|| server.seen.read.load(Ordering::SeqCst) == before + 5).await;
        drop(sender);
        until(|| site.gateway.stats().in_flight == 0).await;
    }
    assert_eq!(server.seen.asked().len(), 0);
}

/// The server here is the gateway's own: it is one with a certificate.
#[tokio::test]
async fn a_server_with_a_certificate_is_verified() {
    let site = Site::start().await;
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let (chain, key) = known.sign_name("localhost", "server");
    let options = HttpOptions::new("127.0.0.1:0").certificate(&chain, &key);
    let server = soon(site.gateway.serve_http(options)).await.unwrap();
    let url = format!("https://localhost:{}", server.local_addr().port());
    for (name, authority, status) in [("known", &known, 200), ("other", &other, 503)] {
        let local = LocalServer::new(&url).allow("GET /health").authority(authority.file());
        let _box = site.attach_with(name, local, |node| node).await;
        let answer = site.ask(&format!("GET /attach/{name}/health"), &[], "").await;
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 503 {
            assert_eq!(answer.json()["executed"], "No", "{answer:?}");
        }
    }
}
