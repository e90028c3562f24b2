//! Calls, streams, client streams and jobs, as a program without this library makes them.

use std::net::SocketAddr;

use common::gate::{Gate, pass};
use common::{Probe, SayOnDrop, soon};
use easyremote::{Context, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Site;
use crate::exchange::{Live, get, post, request};

#[derive(Debug, Serialize, Deserialize)]
enum Trouble {
    Empty { at: u64 },
    Other(String),
}

/// Returns what it gets, so that what arrives can be compared with what was sent.
#[remote]
fn echo(value: Value) -> Value {
    value
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn huge(a: u128) -> u128 {
    a
}

#[remote]
fn fails(how: u8) -> Result<u8, Trouble> {
    match how {
        0 => Ok(0),
        1 => Err(Trouble::Empty { at: 7 }),
        2 => Err(Trouble::Other("two\nlines".to_owned())),
        _ => panic!("as it should"),
    }
}

#[remote]
async fn waits(probe: u64) -> u8 {
    let says = SayOnDrop(probe, "dropped");
    says.say("started");
    std::future::pending().await
}

#[remote]
async fn told(#[ctx] ctx: &Context) -> (Option<String>, bool, String) {
    let tenant = ctx.metadata("tenant").map(str::to_owned);
    (tenant, ctx.deadline().is_some(), ctx.caller().identity.clone())
}

#[remote]
async fn total(from: u64, parts: impl Stream<Item = u64>) -> u64 {
    parts.fold(from, |sum, part| async move { sum + part }).await
}

/// Passes the gate before each item but the first.
#[remote(stream)]
fn gated(gate: u64, probe: u64) -> impl Stream<Item = u64> {
    let says = SayOnDrop(probe, "dropped");
    stream::iter(0..).then(move |n| {
        let _says = &says;
        async move {
            if n > 0 {
                pass(gate).await;
            }
            n
        }
    })
}

#[remote(stream)]
fn count(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

#[remote(stream)]
fn mixed(to: u64) -> impl Stream<Item = Result<u64, Trouble>> {
    stream::iter((0..to).map(|n| if n % 2 == 0 { Ok(n) } else { Err(Trouble::Empty { at: n }) }))
}

#[remote(stream)]
async fn refused(why: String) -> Result<impl Stream<Item = u64>, Trouble> {
    match why.is_empty() {
        true => Ok(stream::iter([1])),
        false => Err(Trouble::Other(why)),
    }
}

#[remote(stream)]
fn doubled(numbers: impl Stream<Item = u64> + Send) -> impl Stream<Item = u64> {
    numbers.map(|n| 2 * n)
}

#[remote(operator)]
fn multiple(n: &u64, of: u64) -> bool {
    n.is_multiple_of(of)
}

const JSON: &str = "Content-Type: application/json";
const LINES: &str = "Content-Type: application/x-ndjson";

async fn served() -> (Site, Node, String) {
    let site = Site::start().await;
    let functions = functions![
        echo, add, huge, fails, waits, told, total, gated, count, mixed, refused, doubled,
        multiple,
    ];
    let node = soon(Node::serve(site.gateway.ticket(Role::Node), functions)).await.unwrap();
    let bearer = site.bearer(Role::Client);
    (site, node, bearer)
}

/// Text of a request whose body comes later, or never.
fn open(method: &str, path: &str, at: SocketAddr, headers: &[&str]) -> String {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    format!("{method} {path} HTTP/1.1\r\nHost: {at}\r\n{headers}\r\n")
}

#[tokio::test]
async fn values_arrive_as_they_were_sent() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    for text in [
        "null",
        "true",
        "-0.1",
        "1e300",
        "18446744073709551615",
        "-9223372036854775808",
        "\"\"",
        "\"\\u0000\\n\\\"ü\u{1F980}\"",
        "[]",
        "[[],{},[null]]",
        "{\"a\":{\"b\":[1,2.5]}}",
    ] {
        for arguments in [format!("[{text}]"), format!("{{\"value\": {text}\r\n}}")] {
            let answer = post(at, "/call/echo", &[&bearer, JSON], &arguments).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let expected: Value = serde_json::from_str(text).unwrap();
            assert_eq!(answer.json(), expected);
        }
    }
    let most = u128::MAX.to_string();
    let answer = post(at, "/call/huge", &[&bearer, JSON], &format!("[{most}]")).await;
    assert_eq!(answer.body, most);
}

#[tokio::test]
async fn each_failure_says_what_it_is_and_whether_the_function_ran() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    for (path, body, status, kind, executed) in [
        ("/call/add", "[1]", 400, "BadArguments", "No"),
        ("/call/add", "{\"a\": 1, \"c\": 2}", 400, "BadArguments", "No"),
        ("/call/add", "[1, \"2\"]", 400, "BadArguments", "No"),
        ("/call/add", "1", 400, "InvalidInput", "No"),
        ("/call/add", "[1, 2", 400, "InvalidInput", "No"),
        ("/call/nothing", "[]", 404, "NoSuchFunction", "No"),
        ("/call/..%2f..%2fadd", "[]", 404, "NoSuchFunction", "No"),
        ("/call/%ff", "[]", 400, "InvalidInput", "No"),
        ("/call/count", "[1]", 400, "BadArguments", "No"),
        ("/stream/add", "[1, 2]", 400, "BadArguments", "No"),
        ("/stream/count?first=1", "[1]", 400, "InvalidInput", "No"),
        ("/call/fails", "[3]", 500, "Panicked", "Yes"),
        ("/call/fails", "[1]", 422, "Function", "Yes"),
        ("/call/fails", "[2]", 422, "Function", "Yes"),
        ("/stream/refused", "[\"closed\"]", 422, "Function", "Yes"),
        ("/jobs/nothing", "[]", 404, "NoSuchFunction", "No"),
    ] {
        let answer = post(at, path, &[&bearer, JSON], body).await;
        assert_eq!(answer.status, status, "{path} {body} {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["kind"], kind, "{path} {body} {problem}");
        assert_eq!(problem["executed"], executed, "{path} {body} {problem}");
        assert_eq!(problem["status"], status);
    }
    let own = post(at, "/call/fails", &[&bearer, JSON], "[1]").await.json();
    assert_eq!(own["error"], json!({"Empty": {"at": 7}}));
}

#[tokio::test]
async fn headers_are_the_options_of_a_call() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    let plain = post(at, "/call/told", &[&bearer], "").await.json();
    assert_eq!(plain, json!([null, false, "default"]));
    let options = ["Easyremote-Metadata-Tenant: acme", "easyremote-timeout: 30s"];
    let told = post(at, "/call/told", &[&[&*bearer][..], &options[..]].concat(), "").await.json();
    assert_eq!(told, json!(["acme", true, "default"]));
    let probe = Probe::new();
    let body = format!("[{}]", probe.key);
    let late = post(at, "/call/waits", &[&bearer, JSON, "Easyremote-Timeout: 50ms"], &body).await;
    assert_eq!((late.status, late.json()["kind"].as_str()), (504, Some("DeadlineExceeded")));
    let nowhere = post(at, "/call/told", &[&bearer, "Easyremote-Node: moon"], "").await;
    assert_eq!((nowhere.status, nowhere.json()["kind"].as_str()), (503, Some("NoNode")));
    let odd = post(at, "/call/told", &[&bearer, "Easyremote-Speed: high"], "").await;
    assert_eq!(odd.status, 400);
}

#[tokio::test]
async fn a_key_joins_calls() {
    let (site, _node, bearer) = served().await;
    let headers = [&*bearer, JSON, "Easyremote-Key: once"];
    let first = post(site.address(), "/call/add", &headers, "[1, 2]").await;
    let again = post(site.address(), "/call/add", &headers, "[1, 2]").await;
    assert_eq!((first.body, again.body), ("3".to_owned(), "3".to_owned()));
    let other = post(site.address(), "/call/add", &headers, "[2, 2]").await;
    assert_eq!((other.status, other.json()["kind"].as_str()), (400, Some("InvalidInput")));
}

#[tokio::test]
async fn a_caller_that_disconnects_cancels() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    let gate = Gate::closed();
    for (path, body) in
        [("/call/waits", "[PROBE]".to_owned()), ("/stream/gated", format!("[{}, PROBE]", gate.key))]
    {
        let mut probe = Probe::new();
        let body = body.replace("PROBE", &probe.key.to_string());
        let length = format!("Content-Length: {}", body.len());
        let text = open("POST", path, at, &[&bearer, JSON, &length]) + &body;
        let mut live = Live::begin(at, &text).await;
        if path == "/call/waits" {
            assert_eq!(soon(probe.next()).await, "started");
        } else {
            live.head().await;
            assert_eq!(live.json().await, json!({"item": 0}));
        }
        drop(live);
        assert_eq!(soon(probe.next()).await, "dropped", "{path}");
    }
}

#[tokio::test]
async fn items_arrive_as_they_are_made() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    for (accept, first, second) in [
        ("*/*", "{\"item\":0}", "{\"item\":1}"),
        ("text/event-stream", "data: 0", "data: 1"),
        ("application/json, text/event-stream;q=0.9", "data: 0", "data: 1"),
    ] {
        let (gate, probe) = (Gate::closed(), Probe::new());
        let path = format!("/stream/gated?arguments=%5B{},{}%5D", gate.key, probe.key);
        let accept = format!("Accept: {accept}");
        let mut live = Live::open(at, &open("GET", &path, at, &[&bearer, &accept])).await;
        assert_eq!(live.status, 200);
        // The function makes no second item before the gate is open.
        assert_eq!(live.line().await.unwrap().unwrap(), first);
        gate.open();
        let mut next = live.line().await.unwrap().unwrap();
        if next.is_empty() {
            next = live.line().await.unwrap().unwrap();
        }
        assert_eq!(next, second);
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_number_of_items_or_with_a_problem() {
    let (site, node, bearer) = served().await;
    let at = site.address();
    let events = "Accept: text/event-stream";
    let answer = post(at, "/stream/mixed", &[&bearer, JSON, events], "[3]").await;
    let body: String =
        answer.body.lines().filter(|line| !is_size(line)).collect::<Vec<_>>().join("|");
    assert_eq!(
        body,
        "data: 0||event: fault|data: {\"Empty\":{\"at\":1}}||data: 2||\
         event: end|data: {\"items\":3}|||"
    );
    for (to, query, items) in [
        (0, "", vec![]),
        (3, "", vec![json!(0), json!(1), json!(2)]),
        (9, "?skip=2&every=3", vec![json!(2), json!(5), json!(8)]),
        (9, "?every=3&skip=2", vec![json!(6)]),
        (9, "?take=1", vec![json!(0)]),
        (5, "?batches=2,10s", vec![json!([0, 1]), json!([2, 3]), json!([4])]),
        (9, "?through=multiple:%7B%22of%22:4%7D", vec![json!(0), json!(4), json!(8)]),
    ] {
        let path = format!("/stream/count{query}");
        let body = format!("[{to}]");
        let length = format!("Content-Length: {}", body.len());
        let text = open("POST", &path, at, &[&bearer, JSON, &length]) + &body;
        let mut live = Live::open(at, &text).await;
        for item in &items {
            assert_eq!(live.json().await, json!({ "item": item }), "{query}");
        }
        assert_eq!(live.json().await, json!({ "end": { "items": items.len() } }), "{query}");
        assert_eq!(live.line().await.unwrap(), None);
    }
    let gate = Gate::closed();
    let path = format!("/stream/gated?arguments=[{},1]", gate.key);
    let mut live = Live::open(at, &open("GET", &path, at, &[&bearer])).await;
    assert_eq!(live.json().await, json!({"item": 0}));
    drop(node);
    let problem = live.json().await["problem"].clone();
    assert_eq!(problem["kind"], "NodeLost", "{problem}");
    assert_eq!((&problem["executed"], &problem["delivered"]), (&json!("Yes"), &json!(1)));
    assert_eq!(live.line().await.unwrap(), None);
}

/// Whether a line is the size of a chunk. No item here looks like one.
fn is_size(line: &str) -> bool {
    !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[tokio::test]
async fn a_body_of_lines_is_a_client_stream() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    for body in ["[10]\n1\n2\n3\n", "[10]\r\n\r\n1\r\n2\n3", "{\"from\": 10}\n1\n 2 \n3"] {
        let answer = post(at, "/call/total", &[&bearer, LINES], body).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "16"), "{body:?}");
    }
    for (body, kind, executed) in [
        ("", "InvalidInput", "No"),
        ("[10]\n1\nnothing\n", "InvalidInput", "Maybe"),
        ("[10]\n1\n\"two\"\n", "BadArguments", "Yes"),
        ("10\n1\n", "InvalidInput", "No"),
    ] {
        let answer = post(at, "/call/total", &[&bearer, LINES], body).await;
        assert_eq!(answer.json()["executed"], executed, "{body:?}");
        assert_eq!((answer.status, answer.json()["kind"].as_str()), (400, Some(kind)), "{body:?}");
    }
    let missing = post(at, "/call/total", &[&bearer, JSON], "[10]").await;
    assert_eq!((missing.status, missing.json()["kind"].as_str()), (400, Some("BadArguments")));
    let surplus = post(at, "/call/add", &[&bearer, LINES], "[1, 2]\n3\n").await;
    assert_eq!((surplus.status, surplus.json()["kind"].as_str()), (400, Some("BadArguments")));
}

#[tokio::test]
async fn both_directions_flow_at_the_same_time() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    let chunked = "Transfer-Encoding: chunked";
    let mut live =
        Live::begin(at, &open("POST", "/stream/doubled", at, &[&bearer, LINES, chunked])).await;
    live.chunk("[]\n").await;
    live.head().await;
    for n in 0..5 {
        live.chunk(&format!("{n}\n")).await;
        assert_eq!(live.json().await, json!({ "item": 2 * n }));
    }
    live.chunk("").await;
    assert_eq!(live.json().await, json!({ "end": { "items": 5 } }));
}

#[tokio::test]
async fn a_client_stream_that_is_cut_off_is_no_whole_one() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    let mut live = Live::begin(
        at,
        &open("POST", "/stream/doubled", at, &[&bearer, LINES, "Transfer-Encoding: chunked"]),
    )
    .await;
    live.chunk("[]\n1\n").await;
    live.head().await;
    assert_eq!(live.json().await, json!({ "item": 2 }));
    live.chunk("nothing\n").await;
    let problem = live.json().await["problem"].clone();
    assert_eq!((&problem["kind"], &problem["executed"]), (&json!("InvalidInput"), &json!("Yes")));
    assert_eq!(live.line().await.unwrap(), None);
}

#[tokio::test]
async fn jobs_outlive_their_requests() {
    let (site, _node, bearer) = served().await;
    let at = site.address();
    let spawned = post(at, "/jobs/add", &[&bearer, JSON], "[1, 2]").await;
    assert_eq!(spawned.status, 202, "{spawned:?}");
    let id = spawned.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/jobs/{id}");
    assert_eq!(spawned.header("location"), Some(path.to_ascii_lowercase().as_str()));
    let result = get(at, &format!("{path}/result"), &[&bearer]).await;
    assert_eq!((result.status, result.body.as_str()), (200, "3"));
    let status = get(at, &path, &[&bearer]).await.json();
    assert_eq!((&status["state"], &status["function"]), (&json!("Succeeded"), &json!("add")));
    let mut probe = Probe::new();
    let body = format!("[{}]", probe.key);
    let running = post(at, "/jobs/waits", &[&bearer, JSON], &body).await.json();
    assert_eq!(soon(probe.next()).await, "started");
    let listed = get(at, "/jobs", &[&bearer]).await.json();
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|job| &job["id"]).collect();
    assert!(ids.contains(&&running["id"]), "{listed}");
    let path = format!("/jobs/{}", running["id"].as_str().unwrap());
    let cancelled = request(at, "DELETE", &path, &[&format!("Host: {at}"), &bearer]).await;
    assert_eq!(cancelled.status, 204);
    assert_eq!(soon(probe.next()).await, "dropped");
    let failed = post(at, "/jobs/fails", &[&bearer, JSON], "[1]").await.json();
    let path = format!("/jobs/{}/result", failed["id"].as_str().unwrap());
    let failed = get(at, &path, &[&bearer]).await;
    assert_eq!((failed.status, failed.json()["kind"].as_str()), (422, Some("Function")));
    let node = id.rsplit('@').next().unwrap();
    let unknown = format!("/jobs/0123456789abcdef0123456789abcdef:add@{node}");
    assert_eq!(get(at, &unknown, &[&bearer]).await.json()["kind"], "NoSuchJob");
    assert_eq!(get(at, "/jobs/odd", &[&bearer]).await.status, 400);
}

#[tokio::test]
async fn rules_and_revocation_hold_for_calls() {
    let site = Site::with(
        |gateway| {
            let gateway = gateway.token(Role::Client, "web").token(Role::Client, "other");
            gateway.may_call("web", ["add"]).may_call("other", ["count", "gated"])
        },
        |options| options,
    )
    .await;
    let ticket = site.gateway.ticket(Role::Node);
    let _node = soon(Node::serve(ticket, functions![add, count, gated])).await.unwrap();
    let at = site.address();
    let (web, other) = (site.bearer_of(Role::Client, "web"), site.bearer_of(Role::Client, "other"));
    assert_eq!(post(at, "/call/add", &[&web, JSON], "[1, 2]").await.status, 200);
    assert_eq!(post(at, "/call/add", &[&other, JSON], "[1, 2]").await.status, 403);
    assert_eq!(post(at, "/stream/count", &[&web, JSON], "[1]").await.status, 403);
    let (gate, mut probe) = (Gate::closed(), Probe::new());
    let path = format!("/stream/gated?arguments=[{},{}]", gate.key, probe.key);
    let mut live = Live::open(at, &open("GET", &path, at, &[&other])).await;
    assert_eq!(live.json().await, json!({"item": 0}));
    site.gateway.revoke(Role::Client, "other");
    assert!(live.json().await.get("problem").is_some());
    assert_eq!(soon(probe.next()).await, "dropped");
    assert_eq!(post(at, "/stream/count", &[&other, JSON], "[1]").await.status, 401);
    assert_eq!(post(at, "/call/add", &[&web, JSON], "[1, 2]").await.status, 200);
}
