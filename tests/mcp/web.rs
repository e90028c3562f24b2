//! `/mcp` of a gateway's HTTP server.

use common::gate::Gate;
use common::{Probe, soon};
use easyremote::Role;
use easyremote::gateway::GatewayBuilder;
use easyremote::http::{HttpOptions, HttpServer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

use crate::agent::{REVISIONS, Revision, Served, stamped};

/// A gateway with tools and an HTTP server.
struct Site {
    served: Served,
    http: HttpServer,
}

/// An answer that is read line by line. Dropping it closes its connection.
struct Exchange {
    status: u16,
    /// In lower case.
    head: Vec<String>,
    lines: Lines<BufReader<TcpStream>>,
}

impl Site {
    async fn start() -> Self {
        Self::with(|gateway| gateway).await
    }

    async fn with(gateway: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let served = Served::with(gateway).await;
        let options = HttpOptions::new("127.0.0.1:0").max_body(1 << 20);
        let http = soon(served.world.gateway.serve_http(options)).await.unwrap();
        Self { served, http }
    }

    fn bearer(&self, name: &str) -> String {
        self.served.world.gateway.bearer(Role::Client, name).unwrap().to_string()
    }

    /// Makes a request, and reads the head of the answer.
    async fn request(&self, method: &str, headers: &[String], body: &str) -> Exchange {
        let mut stream = soon(TcpStream::connect(self.http.local_addr())).await.unwrap();
        let mut text = format!("{method} /mcp HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
        let host = format!("Host: {}", self.http.local_addr());
        let given = headers.iter().any(|header| header.starts_with("Host:"));
        for header in headers.iter().chain((!given).then_some(&host)) {
            text += &format!("{header}\r\n");
        }
        text += &format!("Connection: close\r\n\r\n{body}");
        soon(stream.write_all(text.as_bytes())).await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let mut head = Vec::new();
        loop {
            let line = soon(lines.next_line()).await.unwrap().expect("no answer");
            if line.is_empty() {
                break;
            }
            head.push(line.to_ascii_lowercase());
        }
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        Exchange { status, head, lines }
    }

    /// Sends a message of an agent, with the headers that its revision demands.
    async fn post(&self, revision: Revision, message: &Value, others: &[String]) -> Exchange {
        let mut headers = vec![
            "Content-Type: application/json".to_owned(),
            "Accept: application/json, text/event-stream".to_owned(),
        ];
        if !others.iter().any(|header| header.starts_with("Authorization")) {
            headers.push(format!("Authorization: Bearer {}", self.bearer("default")));
        }
        let method = message["method"].as_str().unwrap_or_default();
        match revision {
            Revision::Before2026 if method == "initialize" => {}
            Revision::Before2026 => headers.push("MCP-Protocol-Version: 2025-06-18".to_owned()),
            Revision::From2026 => {
                headers.push("MCP-Protocol-Version: 2026-07-28".to_owned());
                headers.push(format!("Mcp-Method: {method}"));
                if let Some(name) = message["params"]["name"].as_str() {
                    headers.push(format!("Mcp-Name: {name}"));
                }
            }
        }
        headers.extend_from_slice(others);
        self.request("POST", &headers, &message.to_string()).await
    }

    /// Calls a tool, and returns the answer.
    async fn call(&self, revision: Revision, tool: &str, arguments: Value) -> Value {
        self.post(revision, &call(revision, 1, tool, arguments), &[]).await.answer().await
    }
}

impl Exchange {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// Returns the next message, whichever form the answer has.
    async fn message(&mut self) -> Option<Value> {
        loop {
            let line = soon(self.lines.next_line()).await.unwrap()?;
            let text = line.strip_prefix("data:").unwrap_or(&line).trim();
            if let Ok(message @ Value::Object(_)) = serde_json::from_str(text) {
                return Some(message);
            }
        }
    }

    async fn answer(mut self) -> Value {
        assert_eq!(self.status, 200, "{:?}", self.head);
        self.message().await.expect("no message")
    }

    async fn text(self) -> String {
        let mut text = String::new();
        soon(self.lines.into_inner().read_to_string(&mut text)).await.unwrap();
        text
    }
}

fn call(revision: Revision, id: u64, tool: &str, arguments: Value) -> Value {
    let params = json!({
        "name": tool, "arguments": arguments, "_meta": { "progressToken": 7 },
    });
    request(revision, id, "tools/call", params)
}

fn request(revision: Revision, id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": stamped(revision, params) })
}

#[tokio::test]
async fn tools_are_listed_and_called() {
    let site = Site::start().await;
    for revision in REVISIONS {
        let list = request(revision, 1, "tools/list", json!({}));
        let listed = site.post(revision, &list, &[]).await.answer().await;
        let tools = listed["result"]["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
        let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert!(names.contains(&"add") && !names.contains(&"hidden"), "{names:?}");
        let added = site.call(revision, "add", json!({ "a": 1, "b": 2 })).await;
        assert_eq!(added["result"]["structuredContent"], json!({ "result": 3 }), "{added}");
        let wrong = site.call(revision, "add", json!({ "a": 1 })).await;
        let error = &wrong["result"]["structuredContent"];
        assert_eq!((&error["kind"], &error["executed"]), (&json!("BadArguments"), &json!("No")));
        let hidden = site.call(revision, "hidden", json!({})).await;
        assert_eq!(hidden["error"]["data"]["kind"], "NoSuchFunction", "{hidden}");
    }
}

#[tokio::test]
async fn an_older_agent_begins_with_a_handshake() {
    let site = Site::start().await;
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let hello = json!({
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        });
        let hello = request(Revision::Before2026, 1, "initialize", hello);
        let exchange = site.post(Revision::Before2026, &hello, &[]).await;
        let session = exchange.header("mcp-session-id").unwrap().to_owned();
        assert_eq!(session.len(), 32);
        let answer = exchange.answer().await;
        assert_eq!(answer["result"]["protocolVersion"], version, "{answer}");
        let begun = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        let session = [format!("Mcp-Session-Id: {session}")];
        assert_eq!(site.post(Revision::Before2026, &begun, &session).await.status, 202);
    }
}

#[tokio::test]
async fn the_guard_stands_before_the_tools() {
    let site = Site::start().await;
    let message = call(Revision::From2026, 1, "add", json!({ "a": 1, "b": 2 }));
    let token = site.served.world.gateway.ticket(Role::Client).to_string();
    let token = token.split("token=").nth(1).unwrap().to_owned();
    let bearer = format!("Authorization: Bearer {}", site.bearer("default"));
    for (headers, status) in [
        (vec!["Authorization: none".to_owned()], 401),
        (vec![format!("Authorization: Bearer {token}")], 401),
        (vec![bearer.clone(), "Origin: https://evil.example".to_owned()], 403),
        (vec![bearer.clone(), "Origin: null".to_owned()], 403),
        (vec![bearer.clone(), "Host: evil.example".to_owned()], 421),
        (vec![bearer.clone(), "Easyremote-Key: a".to_owned()], 400),
        (vec![bearer.clone()], 200),
        (vec![bearer, format!("Origin: http://{}", site.http.local_addr())], 200),
    ] {
        let answer = site.post(Revision::From2026, &message, &headers).await;
        assert_eq!(answer.status, status, "{headers:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{headers:?}");
    }
}

#[tokio::test]
async fn each_bearer_has_the_tools_of_its_identity() {
    let site = Site::with(|gateway| {
        let gateway = gateway.token(Role::Client, "web").token(Role::Client, "ops");
        gateway.may_call("web", ["add"]).may_call("ops", ["div*", "hidden"])
    })
    .await;
    for (name, expected) in [("web", &["add"][..]), ("ops", &["divide"])] {
        for revision in REVISIONS {
            let bearer = [format!("Authorization: Bearer {}", site.bearer(name))];
            let list = request(revision, 1, "tools/list", json!({}));
            let listed = site.post(revision, &list, &bearer).await.answer().await;
            let tools = listed["result"]["tools"].as_array().unwrap().iter();
            let names: Vec<_> = tools.map(|tool| tool["name"].as_str().unwrap()).collect();
            assert_eq!(names, expected, "{name}");
            let other = call(revision, 1, "double", json!({ "numbers": 1 }));
            let refused = site.post(revision, &other, &bearer).await.answer().await;
            assert_eq!(refused["error"]["data"]["executed"], "No", "{refused}");
        }
    }
}

#[tokio::test]
async fn items_arrive_as_they_are_made() {
    let site = Site::start().await;
    for revision in REVISIONS {
        let gates: Vec<_> = (0..4).map(|_| Gate::closed()).collect();
        let keys: Vec<_> = gates.iter().map(|gate| gate.key).collect();
        // The answer begins with the first item, at the latest.
        gates[0].open();
        let message = call(revision, 5, "count", json!({ "to": 4, "gates": keys }));
        let mut exchange = site.post(revision, &message, &[]).await;
        for (n, gate) in (1..).zip(&gates) {
            gate.open();
            let progress = exchange.message().await.unwrap();
            assert_eq!(progress["params"]["message"], n.to_string(), "{progress}");
            assert_eq!(progress["params"]["progressToken"], 7);
        }
        let answer = exchange.message().await.unwrap();
        let expected = json!({ "items": [1, 2, 3, 4], "count": 4 });
        assert_eq!((&answer["id"], &answer["result"]["structuredContent"]), (&json!(5), &expected));
    }
}

/// Makes a call that does not end, as a task, since its answer does not begin.
async fn napping(site: &std::sync::Arc<Site>, revision: Revision, headers: Vec<String>) -> Nap {
    let mut probe = Probe::new();
    let (site, message) = (site.clone(), call(revision, 1, "nap", json!({ "key": probe.key })));
    let request = tokio::spawn(async move {
        let mut exchange = site.post(revision, &message, &headers).await;
        exchange.message().await
    });
    assert_eq!(probe.next().await, "started");
    Nap { probe, request }
}

struct Nap {
    probe: Probe,
    request: tokio::task::JoinHandle<Option<Value>>,
}

#[tokio::test]
async fn a_request_that_is_closed_ends_its_function() {
    let site = std::sync::Arc::new(Site::start().await);
    for revision in REVISIONS {
        let mut nap = napping(&site, revision, Vec::new()).await;
        nap.request.abort();
        assert_eq!(nap.probe.next().await, "dropped", "{revision:?}");
        // Behind the first item too.
        let probe = Probe::new();
        let gate = Gate::closed();
        let message = call(
            revision,
            1,
            "count",
            json!({ "to": 2, "gates": [probe.key + 1_000_000, gate.key] }),
        );
        let mut exchange = site.post(revision, &message, &[]).await;
        assert!(exchange.message().await.is_some());
        let open = || site.served.world.gateway.stats().streams;
        common::until(|| open() == 1).await;
        drop(exchange);
        common::until(|| open() == 0).await;
    }
}

#[tokio::test]
async fn a_notification_cancels_the_call_of_its_session_only() {
    let site =
        Site::with(|gateway| gateway.token(Role::Client, "default").token(Role::Client, "web"));
    let site = std::sync::Arc::new(site.await);
    let revision = Revision::Before2026;
    let session = |id: &str| format!("Mcp-Session-Id: {id}");
    let mut nap = napping(&site, revision, vec![session("a")]).await;
    let cancel = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 },
    });
    let other = format!("Authorization: Bearer {}", site.bearer("web"));
    for headers in [vec![], vec![session("b")], vec![session("a"), other]] {
        assert_eq!(site.post(revision, &cancel, &headers).await.status, 202);
    }
    let added = site.call(revision, "add", json!({ "a": 1, "b": 2 })).await;
    assert_eq!(added["result"]["structuredContent"], json!({ "result": 3 }));
    assert_eq!(nap.probe.so_far(), [""; 0]);
    assert_eq!(site.post(revision, &cancel, &[session("a")]).await.status, 202);
    assert_eq!(nap.probe.next().await, "dropped");
    let answer = soon(nap.request).await.unwrap().unwrap();
    assert_eq!(answer["error"]["message"], "the call was cancelled");
}

#[tokio::test]
async fn headers_set_the_options_of_a_call() {
    let site = Site::start().await;
    let revision = Revision::From2026;
    let message = call(revision, 1, "tenant", json!({}));
    let headers = ["Easyremote-Metadata-Tenant: acme".to_owned()];
    let answer = site.post(revision, &message, &headers).await.answer().await;
    assert_eq!(answer["result"]["structuredContent"]["result"], "acme");
    // Also instead of what the function says of itself.
    let message = call(revision, 1, "forever", json!({}));
    let headers = ["Easyremote-Timeout: 50ms".to_owned()];
    let mut exchange = site.post(revision, &message, &headers).await;
    let last = loop {
        let message = exchange.message().await.unwrap();
        if message["id"] == 1 {
            break message;
        }
    };
    let error = &last["result"]["structuredContent"];
    assert_eq!(error["kind"], "DeadlineExceeded");
    assert!(error["message"].as_str().unwrap().contains("50"), "{error}");
}

#[tokio::test]
async fn what_is_no_request_of_an_agent_is_refused() {
    let site = Site::start().await;
    let bearer = format!("Authorization: Bearer {}", site.bearer("default"));
    let accept = "Accept: application/json, text/event-stream".to_owned();
    let json = "Content-Type: application/json".to_owned();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    for (method, headers, body, status) in [
        ("GET", vec![bearer.clone(), accept.clone()], "", 405),
        ("DELETE", vec![bearer.clone()], "", 405),
        ("POST", vec![bearer.clone(), json.clone()], "{}", 406),
        (
            "POST",
            vec![bearer.clone(), accept.clone(), "Content-Type: text/plain".to_owned()],
            "{}",
            415,
        ),
        ("POST", vec![bearer.clone(), accept.clone(), json.clone()], long.as_str(), 413),
    ] {
        let answer = site.request(method, &headers, body).await;
        assert_eq!(answer.status, status, "{method} {headers:?}");
    }
    for odd in ["", "[", "7", "[]", "{\"jsonrpc\": \"2.0\"}", "null", "{\"id\":{}}"] {
        let headers = [bearer.clone(), accept.clone(), json.clone()];
        let answer = site.request("POST", &headers, odd).await;
        let status = answer.status;
        let text = answer.text().await;
        assert!((400..500).contains(&status), "{odd}: {status} {text}");
    }
}
