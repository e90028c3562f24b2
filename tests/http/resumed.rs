//! Streams that continue after their connection was cut: `?resume=1` and `Last-Event-ID`.

mod ids;

use std::net::SocketAddr;

use common::gate::{Gate, pass};
use common::{Probe, SayOnDrop, found_in, soon, until};
use easyremote::http::{HttpOptions, HttpServer};
use easyremote::node::Functions;
use easyremote::{Gateway, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Counts from 0, with a payload: at once, as fast as others let it, or once a millisecond.
fn numbers(n: u64, bytes: usize, pace: u8) -> impl Stream<Item = (u64, String)> {
    let ticks = (pace == 2).then(|| tokio::time::interval(std::time::Duration::from_millis(1)));
    stream::unfold((0, ticks), move |(i, mut ticks)| async move {
        match (&mut ticks, pace) {
            (Some(ticks), _) => drop(ticks.tick().await),
            (None, 1) => tokio::task::yield_now().await,
            _ => {}
        }
        (i < n).then(|| ((i, "x".repeat(bytes)), (i + 1, ticks)))
    })
}

#[remote(stream)]
fn counted(n: u64, bytes: usize, pace: u8) -> impl Stream<Item = (u64, String)> {
    numbers(n, bytes, pace)
}

/// The same, of which a node keeps little.
#[remote(stream, replay = "2KiB")]
fn forgotten(n: u64, bytes: usize, pace: u8) -> impl Stream<Item = (u64, String)> {
    numbers(n, bytes, pace)
}

/// The same from an iterator, on a thread of its own.
#[remote(stream)]
fn iterated(n: u64, bytes: usize, _pace: u8) -> impl Iterator<Item = (u64, String)> {
    (0..n).map(move |i| (i, "x".repeat(bytes)))
}

/// Every third item is an error.
#[remote(stream)]
fn partly(n: u64, bytes: usize, pace: u8) -> impl Stream<Item = Result<(u64, String), u64>> {
    numbers(n, bytes, pace).map(|(i, text)| if i % 3 == 1 { Err(i) } else { Ok((i, text)) })
}

#[remote(operator)]
fn odd(item: &(u64, String)) -> bool {
    item.0 % 2 == 1
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

/// Makes items until it has made so many, however slowly they are read.
#[remote(stream, replay = "64KiB")]
fn told(n: u64, probe: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n).inspect(move |i| {
        if *i + 1 == n {
            common::say(probe, "all made");
        }
    })
}

fn all() -> Functions {
    functions![counted, forgotten, iterated, partly, odd, gated, told]
}

/// A gateway that is lost and replaced by another with the same key, and a node.
struct Place {
    state: TempDir,
    at: SocketAddr,
    gateway: Option<(Gateway, HttpServer)>,
    node: Option<Node>,
}

impl Place {
    async fn start() -> Self {
        let (state, at) = (tempfile::tempdir().unwrap(), "127.0.0.1:0".parse().unwrap());
        let mut place = Self { state, at, gateway: None, node: None };
        place.start_gateway().await;
        place.at = place.gateway().local_addr();
        place.start_node().await;
        place
    }

    async fn start_gateway(&mut self) {
        let gateway = common::gateway_at(self.at).state_dir(self.state.path());
        let gateway = gateway.token(Role::Client, "web").token(Role::Client, "other");
        let gateway = soon(gateway.serve()).await.unwrap();
        let http = soon(gateway.serve_http(HttpOptions::new("127.0.0.1:0"))).await.unwrap();
        self.gateway = Some((gateway, http));
    }

    async fn start_node(&mut self) {
        let node = Node::builder(self.at).dial(found_in(self.state.path())).id("a");
        self.node = Some(soon(node.functions(all()).serve()).await.unwrap());
    }

    /// Ends the gateway without a drain, and starts another in its place.
    async fn replace_gateway(&mut self) {
        let (gateway, http) = self.gateway.take().unwrap();
        soon(gateway.shutdown()).await;
        drop(http);
        self.start_gateway().await;
    }

    fn gateway(&self) -> &Gateway {
        &self.gateway.as_ref().unwrap().0
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    /// The head of a request for events by `identity`, with further headers.
    fn request(&self, path: &str, identity: &str, more: &str) -> (SocketAddr, String) {
        let at = self.gateway.as_ref().unwrap().1.local_addr();
        let bearer = self.gateway().bearer(Role::Client, identity).unwrap();
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {bearer}\r\n\
             Accept: text/event-stream\r\n{more}\r\n"
        );
        (at, text)
    }

    async fn ask(&self, path: &str, last: Option<&str>) -> Events {
        // After a gateway has been replaced, its node may not be there yet.
        let waits = || "Easyremote-Wait-For-Node: true\r\n".to_owned();
        let more = last.map_or_else(waits, |id| format!("Last-Event-ID: {id}\r\n"));
        let (at, text) = self.request(path, "web", &more);
        Events::open(at, &text).await
    }

    /// Asks without a bearer.
    async fn show(&self, path: &str, more: &str) -> Events {
        let (at, text) = self.request(path, "web", more);
        let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("Authorization"));
        Events::open(at, &lines.collect::<String>()).await
    }

    /// Asks as `identity`, and returns the status and the problem.
    async fn refused(&self, path: &str, identity: &str, id: &str) -> (u16, Value) {
        let (at, text) = self.request(path, identity, &format!("Last-Event-ID: {id}\r\n"));
        let mut events = Events::open(at, &text).await;
        soon(events.whole()).await;
        (events.status(), serde_json::from_slice(&events.body()).unwrap_or_default())
    }
}

/// What an `EventSource` dispatches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
    id: String,
}

/// An answer of events, read byte by byte. Dropping it closes the connection.
struct Events {
    stream: TcpStream,
    bytes: Vec<u8>,
    /// How many events have been returned.
    returned: usize,
}

impl Events {
    async fn open(at: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, bytes: Vec::new(), returned: 0 }
    }

    /// Reads more. Returns `false` at the end.
    async fn more(&mut self, most: usize) -> bool {
        let mut buffer = vec![0; most.clamp(1, 4_096)];
        let n = soon(self.stream.read(&mut buffer)).await.unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..n]);
        n > 0
    }

    /// Reads so many bytes, unless the answer is shorter.
    async fn read(&mut self, n: usize) {
        while self.bytes.len() < n && !self.has_ended() && self.more(n - self.bytes.len()).await {}
    }

    /// Reads until the body has ended.
    async fn whole(&mut self) {
        while !self.has_ended() && self.more(4_096).await {}
    }

    fn head(&self) -> Option<(&str, &[u8])> {
        let end = self.bytes.windows(4).position(|part| part == b"\r\n\r\n")?;
        Some((std::str::from_utf8(&self.bytes[..end]).unwrap(), &self.bytes[end + 4..]))
    }

    fn status(&self) -> u16 {
        self.head().unwrap().0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    fn is_chunked(&self) -> bool {
        self.head().is_some_and(|(head, _)| head.to_ascii_lowercase().contains("chunked"))
    }

    fn has_ended(&self) -> bool {
        let Some((head, body)) = self.head() else { return false };
        if self.is_chunked() {
            return body.ends_with(b"0\r\n\r\n");
        }
        let head = head.to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        body.len() >= length.map_or(0, |length| length.trim().parse().unwrap())
    }

    /// The body as far as it has arrived, without its chunks.
    fn body(&self) -> Vec<u8> {
        let Some((_, mut rest)) = self.head() else { return Vec::new() };
        if !self.is_chunked() {
            return rest.to_vec();
        }
        let mut body = Vec::new();
        while let Some(at) = rest.windows(2).position(|part| part == b"\r\n") {
            let size = std::str::from_utf8(&rest[..at]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let data = &rest[at + 2..];
            body.extend_from_slice(&data[..size.min(data.len())]);
            if data.len() < size + 2 {
                break;
            }
            rest = &data[size + 2..];
        }
        body
    }

    /// All events that have arrived whole, as the HTML standard has them dispatched, and the id that the
    /// next request names.
    fn dispatched(&self, before: &str) -> (Vec<Event>, String) {
        let text = String::from_utf8_lossy(&self.body()).into_owned();
        let (mut events, mut event, mut last) = (Vec::new(), Event::default(), before.to_owned());
        let mut pending = last.clone();
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        for line in whole.lines() {
            match line.split_once(": ").unwrap_or((line, "")) {
                ("", _) if line.is_empty() => {
                    last.clone_from(&pending);
                    let event = std::mem::take(&mut event);
                    if !event.data.is_empty() {
                        events.push(Event { id: last.clone(), ..event });
                    }
                }
                ("id", id) => id.clone_into(&mut pending),
                ("event", name) => name.clone_into(&mut event.name),
                ("data", data) => data.clone_into(&mut event.data),
                _ => assert!(line.starts_with(':'), "{line:?}"),
            }
        }
        (events, last)
    }

    /// Waits for the next event.
    async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.dispatched("").0.get(self.returned) {
                self.returned += 1;
                return event.clone();
            }
            assert!(self.more(4_096).await, "the answer ends: {:?}", self.dispatched(""));
        }
    }

    /// The id that the next request names.
    fn last(&self) -> String {
        self.dispatched("").1
    }
}

/// The number in an item, or in the error in its place.
fn number(event: &Event) -> u64 {
    let value: Value = serde_json::from_str(&event.data).unwrap();
    match event.name.as_str() {
        "" => value[0].as_u64().unwrap(),
        "fault" => value.as_u64().unwrap(),
        _ => panic!("{event:?}"),
    }
}

/// A stream that is read through cuts.
struct Reading {
    path: String,
    events: Vec<Event>,
    /// What the next request names.
    last: String,
    cuts: usize,
}

impl Reading {
    fn new(path: String) -> Self {
        Self { path, events: Vec::new(), last: String::new(), cuts: 0 }
    }

    /// Makes a request, and reads so many bytes of its answer. Returns whether the stream has ended.
    async fn part(&mut self, place: &Place, bytes: usize) -> bool {
        let last = (!self.last.is_empty()).then_some(self.last.as_str());
        let mut answer = place.ask(&self.path, last).await;
        answer.read(bytes).await;
        if let Some((head, _)) = answer.head() {
            assert!(head.starts_with("HTTP/1.1 200 "), "{head} {:?}", answer.body());
        }
        let (events, last) = answer.dispatched(&self.last);
        self.events.extend(events);
        self.last = last;
        self.cuts += 1;
        let ended = |event: &Event| matches!(event.name.as_str(), "end" | "problem");
        self.events.last().is_some_and(ended)
    }

    /// Checks that there is neither a gap nor a duplicate.
    fn check(mut self, expected: &[u64], what: &str) {
        let end = self.events.pop().unwrap();
        let found: Vec<_> = self.events.iter().map(number).collect();
        assert_eq!(found, expected, "{what}, {} cuts", self.cuts);
        assert_eq!(
            (end.name.as_str(), &*end.data),
            ("end", &*json!({"items": found.len()}).to_string())
        );
    }
}

/// What a chain of operators leaves of the numbers below `n`.
fn left(chain: &str, n: u64) -> Vec<u64> {
    let mut left: Vec<u64> = (0..n).collect();
    for operator in chain.split('&').filter(|operator| !operator.is_empty()) {
        match operator.split_once('=').unwrap_or((operator, "")) {
            ("take", n) => left.truncate(n.parse().unwrap()),
            ("skip", n) => drop(left.drain(..left.len().min(n.parse().unwrap()))),
            ("every", n) => {
                let n = n.parse().unwrap();
                left = left.into_iter().step_by(n).collect();
            }
            ("through", _) => left.retain(|n| n % 2 == 1),
            ("dedup" | "buffer", _) => {}
            other => panic!("{other:?}"),
        }
    }
    left
}

/// Any function, chain, pace and place of the cuts, with the gateway lost in between or not.
async fn whatever_is_cut(seeds: std::ops::Range<u64>) {
    const CHAINS: [&str; 8] = [
        "",
        "take=40",
        "skip=7",
        "every=3",
        "through=odd",
        "skip=3&through=odd&take=30",
        "dedup&buffer=0",
        "buffer=300&every=2&skip=1",
    ];
    let mut place = Place::start().await;
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let function = ["counted", "iterated", "partly"][rng.usize(0..3)];
        let chain = if function == "partly" { "" } else { CHAINS[rng.usize(0..CHAINS.len())] };
        let (n, bytes, pace) = (rng.u64(0..120), rng.usize(0..100), rng.u8(0..3));
        let path = format!("/stream/{function}?arguments=[{n},{bytes},{pace}]&resume=1&{chain}");
        let mut reading = Reading::new(path.clone());
        let longest = [200, 1_000, 8_000][rng.usize(0..3)];
        let mut whole = false;
        while !whole {
            // The header of an answer is often cut too, and the longer ones get further each time.
            let bytes = rng.usize(1..longest) + 100 * reading.cuts;
            whole = reading.part(&place, bytes).await;
            if rng.u8(0..8) == 0 {
                place.replace_gateway().await;
            }
        }
        let (end, last) = (reading.events.len(), reading.last.clone());
        reading.check(&left(chain, n), &format!("seed {seed}: {path}"));
        assert!(end > 0);
        // An `EventSource` that asks once more is told to stop.
        let mut answer = place.ask(&path, Some(&last)).await;
        answer.whole().await;
        assert_eq!((answer.status(), answer.body()), (204, Vec::new()), "seed {seed}");
    }
    until(|| place.node().stats().in_flight == 0).await;
    until(|| place.gateway().stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_stream_that_is_cut_goes_on_without_gap_or_duplicate() {
    whatever_is_cut(0..12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_cut_goes_on_on_several_threads() {
    whatever_is_cut(100..112).await;
}

/// What times and demand leave out differs each time, but comes once and in order.
#[tokio::test]
async fn what_is_sampled_comes_in_order() {
    let place = Place::start().await;
    for chain in ["latest", "sample=3ms", "latest&every=2"] {
        let path = format!("/stream/counted?arguments=[150,10,2]&resume=1&{chain}");
        let mut reading = Reading::new(path);
        let mut bytes = 600;
        while !reading.part(&place, bytes).await {
            bytes += 500;
        }
        let end = reading.events.pop().unwrap();
        let numbers: Vec<_> = reading.events.iter().map(number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.len() > 1, "{chain}: {numbers:?}");
        assert_eq!(end.data, json!({"items": numbers.len()}).to_string(), "{chain}");
    }
}

#[tokio::test]
async fn batches_are_items_that_come_once() {
    let place = Place::start().await;
    let path = "/stream/counted?arguments=[97,10,0]&resume=1&batches=5,10s";
    let mut reading = Reading::new(path.to_owned());
    let mut bytes = 300;
    while !reading.part(&place, bytes).await {
        bytes += 150;
    }
    assert!(reading.cuts > 3);
    reading.events.pop();
    let batches = reading.events.iter().map(|event| serde_json::from_str(&event.data).unwrap());
    let batches: Vec<Vec<(u64, String)>> = batches.collect();
    assert_eq!(batches.len(), 20);
    let numbers: Vec<_> = batches.concat().into_iter().map(|(n, _)| n).collect();
    assert_eq!(numbers, left("", 97));
}

/// The function runs on while its reader is away, and for it alone.
#[tokio::test]
async fn only_a_stream_that_may_continue_survives_its_connection() {
    let mut place = Place::start().await;
    for (query, survives) in [("", false), ("&resume=0", false), ("&resume=1", true)] {
        let (gate, mut probe) = (Gate::closed(), Probe::new());
        let path = format!("/stream/gated?arguments=[{},{}]{query}", gate.key, probe.key);
        let mut events = place.ask(&path, None).await;
        let first = events.next().await;
        assert_eq!((first.data.as_str(), first.id.is_empty()), ("0", !survives));
        let last = events.last();
        drop(events);
        if !survives {
            assert_eq!(probe.next().await, "dropped");
            continue;
        }
        until(|| place.gateway().streams().is_empty()).await;
        assert_eq!(probe.so_far(), Vec::<&str>::new());
        gate.open();
        let mut events = place.ask(&path, Some(&last)).await;
        for n in 1..50 {
            assert_eq!(events.next().await.data, n.to_string());
        }
        // A node that ends cancels it, and the reader learns which one it was.
        drop(place.node.take());
        place.start_node().await;
        while events.next().await.name.is_empty() {}
        let (mut all, _) = events.dispatched("");
        let problem: Value = serde_json::from_str(&all.pop().unwrap().data).unwrap();
        let delivered = all.iter().filter(|event| event.name.is_empty()).count() as u64 + 1;
        assert_eq!(problem["node"], "a", "{problem}");
        assert!(["Gap", "Cancelled"].contains(&problem["kind"].as_str().unwrap()), "{problem}");
        assert_eq!(problem["delivered"], delivered, "{problem}");
        assert_eq!(probe.next().await, "dropped");
    }
}

/// A reader that is away pauses nobody, and one that is too far behind is told so.
#[tokio::test]
async fn an_id_that_is_too_old_is_a_gap() {
    let place = Place::start().await;
    let mut probe = Probe::new();
    let path = format!("/stream/told?arguments=[200000,{}]&resume=1", probe.key);
    let mut events = place.ask(&path, None).await;
    let mut ids = vec![events.next().await.id];
    for _ in 0..20 {
        ids.push(events.next().await.id);
    }
    drop(events);
    // Nothing is read, and all is made.
    assert_eq!(probe.next().await, "all made");
    until(|| place.node().stats().in_flight == 0).await;
    for (n, id) in ids.iter().enumerate() {
        let (status, problem) = place.refused(&path, "web", id).await;
        assert_eq!((status, &problem["kind"]), (410, &json!("Gap")), "{problem}");
        assert_eq!((&problem["delivered"], &problem["executed"]), (&json!(n + 1), &json!("Yes")));
        assert_eq!(problem["node"], "a");
    }
}

/// With a ring of any size, and cuts anywhere: the exact sequence, or a gap that counts exactly.
#[tokio::test]
async fn what_is_not_kept_is_a_gap_that_counts_exactly() {
    let place = Place::start().await;
    let (mut gaps, mut ends) = (0, 0);
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let pace = rng.u8(0..3);
        let path = format!("/stream/forgotten?arguments=[300,30,{pace}]&resume=1");
        let mut reading = Reading::new(path.clone());
        loop {
            let bytes = rng.usize(400..40_000);
            let last = (!reading.last.is_empty()).then(|| reading.last.clone());
            let mut answer = place.ask(&path, last.as_deref()).await;
            answer.read(bytes).await;
            if answer.status() == 410 {
                let problem: Value = serde_json::from_slice(&answer.body()).unwrap();
                assert_eq!(problem["delivered"], reading.events.len(), "{problem}");
                gaps += 1;
                break;
            }
            let (events, last) = answer.dispatched(&reading.last);
            reading.events.extend(events);
            reading.last = last;
            if reading.events.last().is_some_and(|event| event.name == "end") {
                reading.events.pop();
                ends += 1;
                break;
            }
        }
        let numbers: Vec<_> = reading.events.iter().map(number).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u64), "{seed}: {numbers:?}");
    }
    assert!(gaps > 0 && ends > 0, "{gaps} gaps, {ends} ends");
}
