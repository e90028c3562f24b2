//! Requests that try to be taken for others: by how they are framed, by their paths, by where they
//! come from. No function runs for them, and nothing of it fails at the server.

use std::net::SocketAddr;
use std::time::Duration;

use common::{Probe, say, soon};
use easyremote::{Client, Node, Role, functions, remote};
use fastrand::Rng;
use futures::future::join_all;
use futures::{Stream, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Site;
use crate::exchange::{Answer, get, post, request, send};

/// Says so whenever it runs.
#[remote]
fn victim(probe: u64, is_honest: bool) {
    say(probe, if is_honest { "honest" } else { "attacked" });
}

#[remote(stream, name = "victim.stream")]
fn victim_stream(probe: u64, is_honest: bool) -> impl Stream<Item = ()> {
    victim(probe, is_honest);
    stream::iter([()])
}

const JSON: &str = "Content-Type: application/json";

/// The requests that make a function run.
const ROUTES: [&str; 3] = ["/call/victim", "/stream/victim.stream", "/jobs/victim"];

/// A site with the function that nobody may reach, and what it says.
struct Target {
    site: Site,
    _node: Node,
    quic: Client,
    at: SocketAddr,
    bearer: String,
    probe: Probe,
}

impl Target {
    async fn start() -> Self {
        let site = Site::with(|gateway| gateway, |options| options.max_body(1 << 20)).await;
        let functions = functions![victim, victim_stream];
        let node = soon(Node::serve(site.gateway.ticket(Role::Node), functions)).await.unwrap();
        let quic = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
        let (at, bearer) = (site.address(), site.bearer(Role::Client));
        Self { site, _node: node, quic, at, bearer, probe: Probe::new() }
    }

    fn arguments(&self) -> String {
        format!("[{}, false]", self.probe.key)
    }

    /// The text of a request that would be fine alone, and run the function.
    fn smuggled(&self, path: &str) -> String {
        let (at, bearer, body) = (self.at, &self.bearer, self.arguments());
        format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\n{bearer}\r\n{JSON}\r\nContent-Length: {}\r\n\r\n\
             {body}",
            body.len()
        )
    }

    /// Checks that honest requests of both sides are answered, and that none but these ran.
    async fn is_unharmed(&mut self, after: &str) {
        let body = format!("[{}, true]", self.probe.key);
        let answer = post(self.at, ROUTES[0], &[&self.bearer, JSON], &body).await;
        assert_eq!(answer.status, 200, "{after}: {answer:?}");
        assert_eq!(soon(self.probe.next()).await, "honest", "{after}");
        soon(victim::call(&self.quic, self.probe.key, true)).await.unwrap();
        assert_eq!(soon(self.probe.next()).await, "honest", "{after}");
    }
}

/// All that comes back on a connection until the server closes it.
async fn exchange(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let _ = stream.write_all(request).await;
    read(stream).await
}

async fn read(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = soon(stream.read_to_end(&mut bytes)).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The statuses of the answers in what has come back.
fn statuses(came: &str) -> Vec<u16> {
    // A body has no line break at its end.
    came.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

#[tokio::test]
async fn requests_can_be_pipelined() {
    let mut target = Target::start().await;
    // So that what follows is no test of nothing.
    let twice = target.smuggled(ROUTES[0]).repeat(2);
    assert_eq!(statuses(&exchange(target.at, twice.as_bytes()).await), [200, 200]);
    for _ in 0..2 {
        assert_eq!(soon(target.probe.next()).await, "attacked");
    }
    target.is_unharmed("pipelining").await;
}

/// Where one party takes a request to end, and another one does not, is nothing to go on after.
#[tokio::test]
async fn a_request_in_the_body_of_another_is_no_request() {
    let mut target = Target::start().await;
    for path in ROUTES {
        let hidden = target.smuggled(path);
        let n = hidden.len();
        let chunk = |size: &str| format!("{size}\r\n{hidden}\r\n0\r\n\r\n");
        let framings = [
            // Two lengths, or a length and chunks.
            (
                format!("Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n"),
                format!("0\r\n\r\n{hidden}"),
            ),
            (
                format!("Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n"),
                format!("0\r\n\r\n{hidden}"),
            ),
            (format!("Content-Length: {n}\r\nContent-Length: 2\r\n"), format!("[]{hidden}")),
            (format!("Content-Length: 2\r\nContent-Length: {n}\r\n"), format!("[]{hidden}")),
            (format!("Content-Length: 2, {n}\r\n"), format!("[]{hidden}")),
            // Chunks, or not.
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("Transfer-Encoding: xchunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("Transfer-Encoding: chunked, identity\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("Transfer-Encoding: identity, chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("Transfer-Encoding: identity\r\n".to_owned(), hidden.clone()),
            ("Transfer-Encoding : chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("Transfer-Encoding:\u{b}chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("Transfer-Encoding\r\n : chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("X: y\r\n Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            ("X: y\rTransfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
            // Lengths that are no numbers, or not everywhere.
            ("Content-Length: +2\r\n".to_owned(), format!("[]{hidden}")),
            ("Content-Length: -2\r\n".to_owned(), format!("[]{hidden}")),
            ("Content-Length: 0x2\r\n".to_owned(), format!("[]{hidden}")),
            ("Content-Length: 2;\r\n".to_owned(), format!("[]{hidden}")),
            ("Content-Length: 2 0\r\n".to_owned(), format!("[]{hidden}")),
            ("Content-Length : 2\r\n".to_owned(), format!("[]{hidden}")),
            ("Content-Length: 18446744073709551618\r\n".to_owned(), format!("[]{hidden}")),
            // Sizes of chunks that are none, or not everywhere.
            ("Transfer-Encoding: chunked\r\n".to_owned(), chunk("0x1")),
            ("Transfer-Encoding: chunked\r\n".to_owned(), chunk("-1")),
            ("Transfer-Encoding: chunked\r\n".to_owned(), chunk("10000000000000001")),
            ("Transfer-Encoding: chunked\r\n".to_owned(), chunk(&format!("{n:x}\n"))),
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0\n\r\n\r\n{hidden}")),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("2;a=\"\r\n\"\r\n[]\r\n0\r\n\r\n{hidden}"),
            ),
            (
                "Transfer-Encoding: chunked\r\n".to_owned(),
                format!("2;a\n\r\n[]\r\n0\r\n\r\n{hidden}"),
            ),
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("1\r\n[]\r\n0\r\n\r\n{hidden}")),
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0\r\nX: {hidden}")),
        ];
        let tries = framings.into_iter().map(async |(framing, body)| {
            let (at, bearer) = (target.at, &target.bearer);
            let head =
                format!("POST {path} HTTP/1.1\r\nHost: {at}\r\n{bearer}\r\n{JSON}\r\n{framing}");
            let came = exchange(at, format!("{head}\r\n{body}").as_bytes()).await;
            let statuses = statuses(&came);
            assert!(statuses.len() <= 1, "{framing:?} {body:?}: {came}");
            assert!(statuses.iter().all(|status| *status < 500), "{framing:?}: {came}");
        });
        join_all(tries).await;
    }
    target.is_unharmed("smuggling").await;
}

/// Protocols and forms of requests that this server does not have.
#[tokio::test]
async fn other_forms_of_requests_run_nothing() {
    let mut target = Target::start().await;
    let (at, bearer, body) = (target.at, target.bearer.clone(), target.arguments());
    let n = body.len();
    let rest = |line: &str, end: &str| {
        let (host, length) = (format!("Host: {at}"), format!("Content-Length: {n}"));
        let lines = [line, &host, &bearer, JSON, &length, "Connection: close", ""];
        lines.join(end) + end + &body
    };
    for path in ROUTES {
        let other = "evil.example";
        for line in [
            format!("POST {path}"),
            format!("POST {path} HTTP/0.9"),
            format!("POST {path} HTTP/2.0"),
            format!("POST {path} HTTP/1.1x"),
            format!("POST {path} http/1.1"),
            format!("post {path} HTTP/1.1"),
            format!("POST  {path} HTTP/1.1"),
            format!("POST\t{path} HTTP/1.1"),
            format!("POST {path}\u{b} HTTP/1.1"),
            format!("PUT {path} HTTP/1.1"),
            format!("PATCH {path} HTTP/1.1"),
            format!("TRACE {path} HTTP/1.1"),
            format!("CONNECT {at} HTTP/1.1"),
            format!("CONNECT {other}:443 HTTP/1.1"),
            format!("POST http://{other}{path} HTTP/1.1"),
            format!("POST https://user@{other}{path} HTTP/1.1"),
            format!("POST //{other}{path} HTTP/1.1"),
            "OPTIONS * HTTP/1.1\r\nX-HTTP-Method-Override: POST".to_owned(),
            format!("GET {path} HTTP/1.1\r\nX-HTTP-Method-Override: POST"),
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        ] {
            let came = exchange(at, rest(&line, "\r\n").as_bytes()).await;
            let fine = |status: &u16| (400..500).contains(status) || *status == 505;
            assert!(statuses(&came).iter().all(fine), "{line}: {came}");
        }
        // A version that knows no chunks.
        let old = format!(
            "POST {path} HTTP/1.0\r\nHost: {at}\r\n{bearer}\r\n{JSON}\r\nTransfer-Encoding: chunked\
             \r\n\r\n{n:x}\r\n{body}\r\n0\r\n\r\n"
        );
        let came = exchange(at, old.as_bytes()).await;
        assert!(statuses(&came).iter().all(|status| *status >= 400), "{came}");
        for end in ["\r", "\n\r", "\r\r\n"] {
            let came = exchange(at, rest(&format!("POST {path} HTTP/1.1"), end).as_bytes()).await;
            assert!(statuses(&came).iter().all(|status| *status >= 400), "{end:?}: {came}");
        }
    }
    target.is_unharmed("other forms").await;
}

/// Each part of an exchange changed at random.
#[tokio::test]
async fn requests_with_faults_fail_at_no_server() {
    let mut target = Target::start().await;
    let mut random = Rng::with_seed(18);
    for n in 0..300 {
        let mut bytes = target.smuggled(ROUTES[n % ROUTES.len()]).into_bytes();
        // Never a call that is whole: the bearer or the arguments have a fault too.
        bytes.pop();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..bytes.len());
            match random.u8(..4) {
                0 => bytes[at] = random.u8(..),
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, b"\r\n\t \0:;,%/"[random.usize(..10)]),
                _ => bytes.truncate(at.max(1)),
            }
        }
        let mut stream = TcpStream::connect(target.at).await.unwrap();
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let came = read(stream).await;
        assert!(statuses(&came).iter().all(|status| *status < 500), "{bytes:?}: {came}");
    }
    target.is_unharmed("faults").await;
}

#[tokio::test]
async fn a_path_names_a_function_and_nothing_else() {
    let mut target = Target::start().await;
    let admin = target.site.bearer(Role::Admin);
    let names = [
        "..",
        ".",
        "%2e%2e",
        "%2E%2E",
        "..%2fstats",
        "%2e%2e%2fstats",
        "../stats",
        "x/../../stats",
        "..;/stats",
        "..%5cstats",
        "..\\stats",
        "%252e%252e%252fstats",
        "%00",
        "victim%00",
        "victim;",
        "victim;a=b",
        "victim%3b",
        "victim/",
        "victim//",
        "/victim",
        "victim%2f",
        "victim%20",
        "victim%0d%0aX:%20y",
        "victim%0a",
        "VICTIM",
        "%ff",
        "%c0%ae%c0%ae",
        "%",
        "%2",
        "%zz",
        "victim%u0063",
        "{function}",
        "*",
        "%7Bfunction%7D",
        "ｖictim",
        "vi\u{301}ctim",
        "victim\u{202e}",
        "größe",
        "",
        "~",
        "victim.stream%00",
        "@",
        ":",
        "a:b@c",
    ];
    let long = ["x".repeat(129), "x".repeat(8_000), "%41".repeat(4_000), "/".repeat(1_000)];
    let names = names.iter().map(|name| (*name).to_owned()).chain(long);
    let body = target.arguments();
    for name in names {
        for route in ["/call/", "/stream/", "/jobs/", "/jobs//result"] {
            let path = match route.strip_suffix("/result") {
                Some(route) => format!("{route}{name}/result"),
                None => format!("{route}{name}"),
            };
            for method in ["POST", "GET", "DELETE"] {
                let text = format!(
                    "{method} {path} HTTP/1.1\r\nHost: {}\r\n{admin}\r\n{JSON}\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n{body}",
                    target.at,
                    body.len()
                );
                let Ok(answer) = send(target.at, text.as_bytes()).await else { continue };
                let is_list = name.is_empty() && method == "GET" && answer.status == 200;
                let refused = (400..500).contains(&answer.status);
                assert!(refused || is_list, "{method} {path}: {answer:?}");
                assert!(!answer.body.contains("in_flight"), "{method} {path}: {answer:?}");
            }
        }
    }
    target.is_unharmed("paths").await;
}

/// What a page elsewhere can make a browser send, with a bearer that it should not have.
#[tokio::test]
async fn pages_elsewhere_run_nothing() {
    let mut target = Target::start().await;
    let (at, bearer, body) = (target.at, target.bearer.clone(), target.arguments());
    let simple =
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"];
    let odd = [
        "text/plain;application/json",
        "application/jsonx",
        "json",
        "text/json",
        "*/*",
        "application/json+x",
        "text/plain, application/json",
        "application/x-ndjson+json",
    ];
    let origins =
        ["https://evil.example", "null", "http://localhost", "http://127.0.0.1:1", "file://"];
    for path in ROUTES {
        // Without asking first, a page can send these types only.
        for kind in simple.iter().chain(&odd) {
            let kind = format!("Content-Type: {kind}");
            let answer = post(at, path, &[&bearer, &kind], &body).await;
            is_refused(&answer, &[415], path);
        }
        let none = post(at, path, &[&bearer], &body).await;
        is_refused(&none, &[415], path);
        for kind in simple.iter().chain(&["application/json"]) {
            for origin in origins {
                let headers =
                    [&bearer, &format!("Origin: {origin}"), &format!("Content-Type: {kind}")];
                let answer = post(at, path, &headers.map(String::as_str), &body).await;
                is_refused(&answer, &[403], path);
                assert_eq!(answer.header("access-control-allow-origin"), None);
            }
        }
        for origin in origins {
            let headers = [
                &*format!("Host: {at}"),
                &format!("Origin: {origin}"),
                "Access-Control-Request-Method: POST",
            ];
            let answer = request(at, "OPTIONS", path, &headers).await;
            is_refused(&answer, &[403], path);
            let query = format!("?arguments={}", body.replace(' ', "%20"));
            let headers = [&*bearer, &format!("Origin: {origin}")];
            let answer = get(at, &format!("{path}{query}"), &headers).await;
            is_refused(&answer, &[403], path);
        }
    }
    target.is_unharmed("pages").await;
}

fn is_refused(answer: &Answer, statuses: &[u16], path: &str) {
    assert!(statuses.contains(&answer.status), "{path}: {answer:?}");
    assert_eq!(answer.json()["executed"], "No", "{path}: {answer:?}");
}

/// A page whose name leads here sends its own `Host`.
#[tokio::test]
async fn names_that_were_made_to_lead_here_run_nothing() {
    let mut target = Target::start().await;
    let (at, bearer, body) = (target.at, target.bearer.clone(), target.arguments());
    let port = at.port();
    let hosts = [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("localhost.evil.example:{port}"),
        format!("127.0.0.1.evil.example:{port}"),
        format!("127.1:{port}"),
        format!("2130706433:{port}"),
        format!("[::ffff:127.0.0.1]:{}", port ^ 1),
        format!("{at}@evil.example"),
        format!("evil.example#{at}"),
        format!("{at}/evil"),
        format!("{at},evil.example"),
        format!("{at}."),
    ];
    for path in ROUTES {
        for host in &hosts {
            for origin in [None, Some(format!("Origin: http://{host}"))] {
                let text = format!(
                    "POST {path} HTTP/1.1\r\nHost: {host}\r\n{bearer}\r\n{JSON}\r\n{}Content-Length: {}\
                     \r\nConnection: close\r\n\r\n{body}",
                    origin.map(|it| it + "\r\n").unwrap_or_default(),
                    body.len()
                );
                let answer = send(at, text.as_bytes()).await.unwrap();
                assert!([400, 421].contains(&answer.status), "{host}: {answer:?}");
            }
        }
    }
    target.is_unharmed("names").await;
}

/// Bodies that never end, or have no end that fits, hold up nobody else.
#[tokio::test]
async fn bodies_without_an_end_hold_up_nobody() {
    let mut target = Target::start().await;
    let (at, bearer) = (target.at, target.bearer.clone());
    let mut held = Vec::new();
    for n in 0..60 {
        let path = ROUTES[n % ROUTES.len()];
        let kind = ["application/json", "application/x-ndjson"][n % 2];
        let length = ["Content-Length: 100000", "Transfer-Encoding: chunked"][n / 2 % 2];
        let begun = ["", "[", "[1, false", "186a0\r\n["][n / 4 % 4];
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\n{bearer}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n\
             {begun}"
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        held.push(stream);
    }
    target.is_unharmed("half bodies").await;
    drop(held);
    // Each is refused long before it is all there.
    let flood = async |n: usize| {
        let path = ROUTES[n % ROUTES.len()];
        let kind = ["application/json", "application/x-ndjson"][n % 2];
        let (length, chunk) = match n / 2 % 2 {
            0 => ("Content-Length: 1000000000000".to_owned(), vec![b' '; 65_536]),
            _ => {
                let chunk = format!("10000\r\n{}\r\n", " ".repeat(65_536));
                ("Transfer-Encoding: chunked".to_owned(), chunk.into_bytes())
            }
        };
        let text = format!(
            "POST {path} HTTP/1.1\r\nHost: {at}\r\n{bearer}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n[1"
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut sent = 0_usize;
        while sent < 64 << 20 && stream.write_all(&chunk).await.is_ok() {
            sent += chunk.len();
        }
        assert!(sent < 32 << 20, "{path}: {sent} bytes were taken");
        let mut answer = Vec::new();
        let _ = timeout(Duration::from_secs(30), stream.read_to_end(&mut answer)).await.unwrap();
        let statuses = statuses(&String::from_utf8_lossy(&answer));
        assert!(
            statuses.iter().all(|status| [400, 413, 429].contains(status)),
            "{path}: {statuses:?}"
        );
    };
    join_all((0..24).map(flood)).await;
    target.is_unharmed("endless bodies").await;
}
