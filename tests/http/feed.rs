//! The feed of the page, as a page reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use common::offered::wait;
use common::{Probe, soon};
use easyremote::gateway::GatewayBuilder;
use easyremote::{CallError, Client, Context, ErrorKind, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::Site;
use crate::exchange::get;

/// What a page makes of the feed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Shown {
    pub(crate) gateway: Value,
    /// By event and by key, the rows of each kind.
    pub(crate) tables: BTreeMap<String, BTreeMap<String, Value>>,
    pub(crate) errors: Vec<Value>,
}

/// A reader of the feed.
#[derive(Debug)]
pub(crate) struct FeedReader {
    lines: BufReader<TcpStream>,
    pub(crate) shown: Shown,
}

impl FeedReader {
    /// Opens the feed, and reads the first events.
    pub(crate) async fn open(site: &Site, bearer: &str) -> Self {
        let mut reader = Self::connect(site.address(), bearer).await;
        assert_eq!(reader.line().await.unwrap(), "HTTP/1.0 200 OK");
        while reader.line().await.is_some_and(|line| !line.is_empty()) {}
        // The last of the first events.
        soon(async { while reader.next().await.unwrap() != "errors" {} }).await;
        reader
    }

    async fn connect(at: SocketAddr, bearer: &str) -> Self {
        let mut stream = TcpStream::connect(at).await.unwrap();
        // Without chunks.
        let request = format!("GET /feed HTTP/1.0\r\nHost: {at}\r\n{bearer}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { lines: BufReader::new(stream), shown: Shown::default() }
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let n = soon(self.lines.read_line(&mut line)).await.unwrap_or(0);
        (n > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// Reads one event, and returns its name; `None` at the end of the feed.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let (name, data, _empty) = (self.line().await?, self.line().await?, self.line().await?);
        let name = name.strip_prefix("event: ").unwrap().to_owned();
        self.shown
            .apply(&name, serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap());
        Some(name)
    }

    /// Reads until the page shows what it should.
    pub(crate) async fn until(&mut self, mut shows: impl FnMut(&Shown) -> bool) {
        let reading = async {
            while !shows(&self.shown) {
                self.next().await.expect("the feed goes on");
            }
        };
        let limit = Duration::from_secs(30);
        if tokio::time::timeout(limit, reading).await.is_err() {
            panic!("the page shows {:#?}", self.shown);
        }
    }

    /// Reads to the end of the feed.
    pub(crate) async fn ends(&mut self) {
        soon(async { while self.next().await.is_some() {} }).await;
    }
}

impl Shown {
    fn apply(&mut self, name: &str, data: Value) {
        let list = |name: &str| data[name].as_array().cloned().unwrap_or_default();
        match name {
            "gateway" => self.gateway = data,
            "errors" => {
                self.errors.extend(list("added"));
                self.errors.drain(..self.errors.len().saturating_sub(100));
            }
            _ => {
                let key = match name {
                    "nodes" => "id",
                    "functions" => "function",
                    _ => "key",
                };
                let rows = self.tables.entry(name.to_owned()).or_default();
                for key in list("removed") {
                    assert!(rows.remove(&key.to_string()).is_some(), "{name} {key}");
                }
                for row in list("changed") {
                    rows.insert(row[key].to_string(), row);
                }
            }
        }
    }

    pub(crate) fn rows(&self, table: &str) -> Vec<&Value> {
        self.tables[table].values().collect()
    }

    /// The row with this value.
    pub(crate) fn row(&self, table: &str, (field, value): (&str, &str)) -> Option<&Value> {
        self.rows(table).into_iter().find(|row| row[field] == value)
    }

    fn now(&self) -> u64 {
        self.gateway["now"].as_u64().unwrap()
    }
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn breaks(why: String) -> i64 {
    panic!("{why}");
}

#[remote(stream)]
fn blocks() -> impl Stream<Item = String> {
    stream::iter(0..).then(async |n| {
        tokio::task::yield_now().await;
        format!("{n}{}", "x".repeat(20_000))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_appears_changes_and_disappears() {
    let site = Site::start().await;
    let admin = site.bearer(Role::Admin);
    let mut page = FeedReader::open(&site, &admin).await;
    let gateway = &page.shown.gateway;
    assert_eq!(
        (&gateway["version"], &gateway["draining"]),
        (&env!("CARGO_PKG_VERSION").into(), &false.into())
    );
    assert!(
        gateway["now"].as_u64().unwrap() > 1_700_000_000_000 && gateway["uptime_seconds"].is_f64()
    );
    assert!(page.shown.rows("nodes").is_empty() && page.shown.errors.is_empty());
    let node = Node::builder(site.gateway.ticket(Role::Node)).id("gpu-1").tag("gpu");
    let node = soon(node.functions(functions![add, blocks, breaks, wait]).serve()).await.unwrap();
    page.until(|shown| shown.rows("nodes").len() == 1).await;
    let row = page.shown.row("nodes", ("id", "gpu-1")).unwrap();
    assert_eq!((&row["tags"][0], row["functions"].as_array().unwrap().len()), (&"gpu".into(), 4));
    page.until(|shown| shown.row("functions", ("function", "add")).is_some()).await;
    let row = page.shown.row("functions", ("function", "add")).unwrap();
    assert_eq!(
        (&row["nodes"], &row["kind"], &row["returned"]),
        (&1.into(), &"unary".into(), &0.into())
    );
    let client = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
    soon(add::call(&client, 1, 2)).await.unwrap();
    let called =
        |shown: &Shown| shown.row("functions", ("function", "add")).unwrap()["returned"] == 1;
    page.until(called).await;
    let row = page.shown.row("functions", ("function", "add")).unwrap();
    assert_eq!((&row["ran"]["count"], row["errors"].as_object().unwrap().len()), (&1.into(), 0));

    let mut items = blocks::call(&client);
    soon(items.next()).await.unwrap().unwrap();
    let stalled = |shown: &Shown| {
        shown.rows("streams").iter().any(|row| row["stalled_for_seconds"].as_f64() > Some(0.5))
    };
    page.until(stalled).await;
    let [row] = page.shown.rows("streams")[..] else { panic!("{:?}", page.shown) };
    assert_eq!((&row["function"], &row["node"]), (&"blocks".into(), &"gpu-1".into()));
    assert_eq!(row["caller"]["identity"], "default");
    let reading = tokio::spawn(async move { while let Some(Ok(_)) = items.next().await {} });
    page.until(|shown| !stalled(shown)).await;
    reading.abort();
    page.until(|shown| shown.rows("streams").is_empty()).await;

    node.shutdown().await;
    page.until(|shown| shown.rows("nodes").is_empty()).await;
    let row = page.shown.row("functions", ("function", "add")).unwrap();
    assert_eq!(
        (&row["nodes"], &row["kind"], &row["returned"]),
        (&0.into(), &Value::Null, &1.into())
    );
    assert_eq!(page.shown.gateway["stats"]["nodes"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_happened_to_whom() {
    let site = Site::with(
        |gateway| gateway.token(Role::Client, "web").may_call("web", ["add", "breaks", "wait"]),
        |options| options,
    )
    .await;
    let mut page = FeedReader::open(&site, &site.bearer(Role::Admin)).await;
    let node = Node::builder(site.gateway.ticket(Role::Node)).id("gpu-1");
    let node = node.functions(functions![add, breaks, blocks, wait]).serve();
    let node = soon(node).await.unwrap();
    let ticket = site.gateway.ticket_of(Role::Client, "web").unwrap();
    let client = soon(Client::connect(ticket)).await.unwrap();
    soon(add::call(&client, 1, 2)).await.unwrap();
    for multiplex in [true, false] {
        let ticket = site.gateway.ticket_of(Role::Client, "web").unwrap();
        let client = Client::builder(ticket).multiplex(multiplex).connect();
        let client = soon(client).await.unwrap();
        let why = format!("out of\nmemory {}", "x".repeat(5_000));
        let error = soon(breaks::call(&client, why)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Panicked);
        page.until(|shown| shown.errors.len() == 1).await;
        let row = page.shown.errors.pop().unwrap();
        assert_eq!((&row["kind"], &row["executed"]), (&"Panicked".into(), &"Yes".into()));
        assert_eq!((&row["function"], &row["node"]), (&"breaks".into(), &"gpu-1".into()));
        assert_eq!(row["identity"], "web");
        let text = row["message"].as_str().unwrap();
        assert!(text.contains("out of memory xxx") && text.len() <= 512, "{text}");
        let at = row["at"].as_u64().unwrap();
        assert!(page.shown.now().abs_diff(at) < 60_000);

        let error = soon(client.call_json("nothing", serde_json::json!([]))).await.unwrap_err();
        let CallError::Remote(error) = error else { panic!("{error}") };
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let error =
            soon(wait::call(&client, 0).timeout(Duration::from_millis(1))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
        page.until(|shown| shown.errors.iter().any(|row| row["kind"] == "PermissionDenied")).await;
        page.shown.errors.clear();
    }
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(soon(probe.next()).await, "started");
    soon(node.shutdown()).await;
    soon(call).await.unwrap().unwrap_err();
    let error = soon(add::call(&client, 1, 2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoNode);
    page.until(|shown| shown.errors.iter().any(|row| row["kind"] == "NoNode")).await;
    let row = page.shown.errors.last().unwrap();
    assert_eq!(
        (&row["function"], &row["executed"], &row["node"]),
        (&"add".into(), &"No".into(), &Value::Null)
    );
    // A page that is opened later shows them too.
    let later = FeedReader::open(&site, &site.bearer(Role::Admin)).await;
    let kinds: Vec<_> =
        later.shown.errors.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert!(kinds.iter().filter(|kind| **kind == "Panicked").count() == 2, "{kinds:?}");
    assert!(kinds.contains(&"NoNode"), "{kinds:?}");
}

/// A page that has read all events shows what one shows that is opened now, to the last field.
#[tokio::test(flavor = "multi_thread")]
async fn all_events_together_are_the_state() {
    let histories = (0..3).map(|seed| tokio::spawn(history(seed)));
    for done in futures::future::join_all(histories).await {
        done.unwrap();
    }
}

async fn history(seed: u64) {
    let site = Site::start().await;
    let (admin, mut random) = (site.bearer(Role::Admin), fastrand::Rng::with_seed(seed));
    let mut page = FeedReader::open(&site, &admin).await;
    let client = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
    let (mut nodes, mut streams, mut next) = (Vec::new(), Vec::new(), 0);
    for _ in 0..4 {
        for _ in 0..random.usize(1..8) {
            match random.u8(..6) {
                0 | 1 => {
                    let node =
                        Node::builder(site.gateway.ticket(Role::Node)).id(format!("n{next}"));
                    let node = node.functions(functions![add, breaks, blocks]).serve();
                    nodes.push(soon(node).await.unwrap());
                    next += 1;
                }
                2 if !nodes.is_empty() => {
                    let node: Node = nodes.swap_remove(random.usize(..nodes.len()));
                    soon(node.shutdown()).await;
                }
                3 => streams.push(blocks::call(&client)),
                4 if !streams.is_empty() => {
                    drop(streams.swap_remove(random.usize(..streams.len())))
                }
                _ => {
                    let _ = soon(add::call(&client, 1, 2)).await;
                    let _ = soon(breaks::call(&client, "of this".to_owned())).await;
                }
            }
            let polled = streams.iter_mut().map(|stream| stream.next());
            let wait = Duration::from_millis(20);
            let _ = tokio::time::timeout(wait, futures::future::join_all(polled)).await;
        }
        let fresh = loop {
            let fresh = FeedReader::open(&site, &admin).await.shown;
            page.until(|shown| shown.now() >= fresh.now()).await;
            // A page that is late may skip a moment.
            if page.shown.now() == fresh.now() {
                break fresh;
            }
        };
        // The other events of that moment.
        let rest = async {
            while page.shown != fresh && page.shown.now() == fresh.now() {
                page.next().await.unwrap();
            }
        };
        soon(rest).await;
        assert_eq!(page.shown, fresh);
    }
}

/// A moment is read once, however many look.
#[tokio::test]
async fn readers_share_what_is_read() {
    let site = Site::start().await;
    let admin = site.bearer(Role::Admin);
    let mut pages = Vec::new();
    for _ in 0..3 {
        pages.push(FeedReader::open(&site, &admin).await);
    }
    let moments = pages.iter_mut().map(async |page| {
        let mut moments = BTreeSet::from([page.shown.now()]);
        while moments.len() < 4 {
            page.next().await.unwrap();
            moments.insert(page.shown.now());
        }
        moments
    });
    let moments = soon(futures::future::join_all(moments)).await;
    let shared = moments[0].intersection(&moments[1]).filter(|it| moments[2].contains(it)).count();
    assert!(shared >= 2, "{moments:?}");
}

#[tokio::test]
async fn the_feed_is_for_overseers_and_has_few_seats() {
    let site = Site::start().await;
    let at = site.address();
    assert_eq!(get(at, "/feed", &[]).await.status, 401);
    assert_eq!(get(at, "/feed", &[&site.bearer(Role::Client)]).await.status, 403);
    let admin = site.bearer(Role::Admin);
    let foreign = "Origin: https://evil.example";
    assert_eq!(get(at, "/feed", &[&admin, foreign]).await.status, 403);
    let mut pages = Vec::new();
    for _ in 0..16 {
        pages.push(FeedReader::open(&site, &admin).await);
    }
    let refused = get(at, "/feed", &[&admin]).await;
    assert_eq!((refused.status, &refused.json()["kind"]), (429, &"Overloaded".into()));
    assert!(refused.header("retry-after").is_some());
    pages.pop();
    // The server notices when it writes the next time.
    soon(async { while get_head(at, &admin).await != 200 {} }).await;
}

/// The status of a request for the feed.
async fn get_head(at: SocketAddr, bearer: &str) -> u16 {
    let mut reader = FeedReader::connect(at, bearer).await;
    reader.line().await.unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_feed_ends_with_what_it_is_about_and_with_the_right_to_see_it() {
    let site = Site::with(|gateway| gateway.token(Role::Admin, "ops"), |options| options).await;
    let ops = site.bearer_of(Role::Admin, "ops");
    let mut page = FeedReader::open(&site, &ops).await;
    site.gateway.rotate_bearer(Role::Admin, "ops").unwrap();
    page.ends().await;
    let ops = site.bearer_of(Role::Admin, "ops");
    let mut page = FeedReader::open(&site, &ops).await;
    assert!(site.gateway.revoke(Role::Admin, "ops"));
    page.ends().await;

    let site = Site::start().await;
    let mut page = FeedReader::open(&site, &site.bearer(Role::Admin)).await;
    tokio::join!(soon(site.http.shutdown()), page.ends());

    let Site { gateway, http: _http, state: _state } = Site::start().await;
    let admin =
        format!("Authorization: Bearer {}", gateway.bearer(Role::Admin, "default").unwrap());
    let mut page = FeedReader::connect(_http.local_addr(), &admin).await;
    let node = soon(Node::serve(gateway.ticket(Role::Node), functions![wait])).await.unwrap();
    let client = soon(Client::connect(gateway.ticket(Role::Client))).await.unwrap();
    let mut probe = Probe::new();
    let call = tokio::spawn(wait::call(&client, probe.key));
    assert_eq!(soon(probe.next()).await, "started");
    while page.line().await.is_some_and(|line| !line.is_empty()) {}
    let draining = tokio::spawn(async move { gateway.drain(Duration::from_secs(60)).await });
    page.until(|shown| shown.gateway["draining"] == true).await;
    call.abort();
    page.ends().await;
    soon(draining).await.unwrap();
    drop(node);
}

#[remote(concurrency = 1)]
async fn alone(key: u64) {
    common::say(key, "started");
    std::future::pending::<()>().await;
}

/// A call that waits has its row from its first moment to its last, with what it waits for.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_shown_with_the_reason() {
    let site = Site::start().await;
    let mut page = FeedReader::open(&site, &site.bearer(Role::Admin)).await;
    let client = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
    let is_for = |shown: &Shown, text: &str| {
        let rows = shown.rows("waiting");
        rows.len() == 1 && rows[0]["for"].as_str().unwrap().contains(text)
    };
    let mut probe = Probe::new();
    let first = tokio::spawn(wait::call(&client, probe.key).tag("gpu").wait_for_node());
    page.until(|shown| is_for(shown, "no node offers `wait`")).await;
    let row = page.shown.rows("waiting")[0].clone();
    assert_eq!((&row["function"], &row["node"]), (&"wait".into(), &Value::Null));
    assert_eq!(
        (&row["caller"]["identity"], &row["caller"]["role"]),
        (&"default".into(), &"client".into())
    );
    let waited = row["waited_seconds"].as_f64().unwrap();
    page.until(|shown| shown.rows("waiting")[0]["waited_seconds"].as_f64() > Some(waited)).await;
    assert_eq!(
        (&page.shown.gateway["stats"]["waiting"], page.shown.rows("calls").len()),
        (&1.into(), 0)
    );

    let node = |id: &str| {
        let node = Node::builder(site.gateway.ticket(Role::Node)).id(id).concurrency(2);
        node.functions(functions![wait, alone]).serve()
    };
    let plain = soon(node("plain")).await.unwrap();
    page.until(|shown| is_for(shown, "asks for tag `gpu`")).await;
    assert_eq!(page.shown.rows("waiting")[0]["key"], row["key"], "it is the same call");
    soon(plain.set_tags(["gpu"])).await.unwrap();
    assert_eq!(soon(probe.next()).await, "started");
    page.until(|shown| shown.rows("waiting").is_empty() && shown.rows("calls").len() == 1).await;
    let row = page.shown.rows("calls")[0].clone();
    assert_eq!(
        (&row["function"], &row["node"], &row["identity"]),
        (&"wait".into(), &"plain".into(), &"default".into())
    );
    assert_eq!(row["running"], 1);
    let oldest = row["oldest_seconds"].as_f64().unwrap();
    page.until(|shown| shown.rows("calls")[0]["oldest_seconds"].as_f64() > Some(oldest)).await;

    let second = tokio::spawn(alone::call(&client, probe.key));
    assert_eq!(soon(probe.next()).await, "started");
    let third = tokio::spawn(wait::call(&client, probe.key).on("plain"));
    page.until(|shown| is_for(shown, "the call asks for has no room: `plain` runs 2 of 2")).await;
    assert_eq!(page.shown.rows("waiting")[0]["node"], "plain");
    first.abort();
    assert_eq!(soon(probe.next()).await, "started");
    page.until(|shown| shown.rows("waiting").is_empty()).await;
    third.abort();
    page.until(|shown| shown.rows("calls").len() == 1).await;
    let fourth = tokio::spawn(alone::call(&client, probe.key));
    page.until(|shown| is_for(shown, "`plain` runs 1 of 1 of `alone`")).await;
    fourth.abort();
    page.until(|shown| shown.rows("waiting").is_empty()).await;
    second.abort();
    page.until(|shown| shown.rows("calls").is_empty()).await;
}

#[remote]
async fn train(#[ctx] ctx: &Context, key: u64) -> u64 {
    ctx.progress(0.25, "epoch 1");
    common::say(key, "started");
    std::future::pending::<u64>().await
}

/// Of all identities, and without their ids, with which only their owners can ask for them.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_shown_with_their_progress_and_without_their_ids() {
    let site = Site::with(|gateway| gateway.token(Role::Client, "web"), |options| options).await;
    let mut page = FeedReader::open(&site, &site.bearer(Role::Admin)).await;
    let node = Node::builder(site.gateway.ticket(Role::Node)).id("gpu-1").concurrency(1);
    let node = soon(node.functions(functions![train, add]).serve()).await.unwrap();
    let client = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
    let mut probe = Probe::new();
    let job = soon(train::call(&client, probe.key).spawn()).await.unwrap();
    assert_eq!(soon(probe.next()).await, "started");
    page.until(|shown| shown.rows("jobs").len() == 1).await;
    let row = page.shown.rows("jobs")[0].clone();
    assert_eq!(
        (&row["function"], &row["node"], &row["identity"]),
        (&"train".into(), &"gpu-1".into(), &"web".into())
    );
    assert_eq!(
        (&row["state"], &row["progress"], &row["text"]),
        (&"Running".into(), &0.25.into(), &"epoch 1".into())
    );
    let text = row.to_string();
    let id = job.id().to_string();
    assert!(!text.contains(id.split(':').next().unwrap()), "{text}");
    let age = row["age_seconds"].as_f64().unwrap();
    page.until(|shown| shown.rows("jobs")[0]["age_seconds"].as_f64() > Some(age)).await;
    soon(job.cancel()).await.unwrap();
    page.until(|shown| shown.rows("jobs")[0]["state"] == "Failed").await;
    assert_eq!(page.shown.rows("jobs")[0]["key"], row["key"]);
    soon(node.shutdown()).await;
    page.until(|shown| shown.rows("jobs").is_empty()).await;
}

/// Whichever stream carries them: small ones together, others alone.
#[tokio::test(flavor = "multi_thread")]
async fn calls_under_way_are_counted_by_function_node_and_identity() {
    let named =
        |gateway: GatewayBuilder| gateway.token(Role::Client, "web").token(Role::Client, "ops");
    let site = Site::with(named, |options| options).await;
    let mut page = FeedReader::open(&site, &site.bearer(Role::Admin)).await;
    let node = Node::builder(site.gateway.ticket(Role::Node)).id("n");
    let _node = soon(node.functions(functions![wait, blocks]).serve()).await.unwrap();
    let mut probe = Probe::new();
    let mut calls = Vec::new();
    for (name, multiplex, n) in [("ops", true, 3), ("web", true, 2), ("web", false, 2)] {
        let ticket = site.gateway.ticket_of(Role::Client, name).unwrap();
        let client = Client::builder(ticket).multiplex(multiplex).connect();
        let client = soon(client).await.unwrap();
        for _ in 0..n {
            calls.push(tokio::spawn(wait::call(&client, probe.key)));
            assert_eq!(soon(probe.next()).await, "started");
        }
    }
    let groups = |shown: &Shown| {
        let text = |row: &Value, field: &str| row[field].as_str().unwrap().to_owned();
        let group = |row: &&Value| {
            let n = row["running"].as_u64().unwrap();
            (text(row, "function"), text(row, "node"), text(row, "identity"), n)
        };
        shown.rows("calls").iter().map(group).collect::<BTreeSet<_>>()
    };
    let group = |function: &str, identity: &str, n: u64| {
        (function.to_owned(), "n".to_owned(), identity.to_owned(), n)
    };
    let waiting = [group("wait", "ops", 3), group("wait", "web", 4)];
    page.until(|shown| groups(shown) == waiting.clone().into()).await;
    let ticket = site.gateway.ticket(Role::Client);
    let client = soon(Client::connect(ticket)).await.unwrap();
    let mut items = blocks::call(&client);
    soon(items.next()).await.unwrap().unwrap();
    let [ops, web] = waiting;
    page.until(|shown| {
        groups(shown) == [group("blocks", "ops", 1), ops.clone(), web.clone()].into()
    })
    .await;
    drop(items);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    page.until(|shown| shown.rows("calls").is_empty()).await;
}
