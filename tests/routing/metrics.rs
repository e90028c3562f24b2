//! The metrics of all roles, in both formats, against the figures that programs read.

use std::collections::BTreeSet;

use common::exposition::Exposition;
use common::gate::{Gate, pass};
use common::{World, soon, until};
use easyremote::node::{FunctionStats, MetricsFormat};
use easyremote::{Client, ErrorKind, Role, functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote]
async fn value(n: u64) -> u64 {
    n
}

#[remote(stream)]
fn items(n: u64) -> impl Stream<Item = u64> {
    stream::iter(0..n)
}

#[remote(stream)]
fn held(gate: u64) -> impl Stream<Item = u64> {
    stream::once(async move {
        pass(gate).await;
        gate
    })
}

#[remote(batch(max = 4, wait = "1ms"))]
fn batched(numbers: Vec<u64>) -> Vec<u64> {
    numbers
}

/// Compares a text with the figures of functions, which no call changes meanwhile.
pub(crate) fn agree(text: &str, role: &str, functions: &[FunctionStats]) {
    let read = Exposition::read(text);
    let mut series = 0;
    for stats in functions {
        let function = ("function", &*stats.function);
        let of = |name: &str| read.value(name, &[function, ("role", role)]);
        let outcomes =
            [("returned".to_owned(), stats.returned), ("fault".to_owned(), stats.faults)];
        let errors = stats.errors.iter().map(|(kind, n)| (snake(*kind), *n));
        for (outcome, n) in outcomes.into_iter().chain(errors) {
            let labels = [function, ("outcome", &*outcome), ("role", role)];
            assert_eq!(read.value("easyremote_calls_total", &labels), Some(n as f64), "{outcome}");
            series += 1;
        }
        for (name, n) in [
            ("easyremote_calls_in_flight", stats.in_flight),
            ("easyremote_calls_waiting", stats.waiting),
            ("easyremote_stream_items_total", stats.items),
            ("easyremote_stream_bytes_total", stats.bytes),
            ("easyremote_stream_items_skipped_total", stats.skipped),
            ("easyremote_call_queue_seconds_count", stats.queued.count()),
            ("easyremote_call_run_seconds_count", stats.ran.count()),
        ] {
            assert_eq!(of(name), Some(n as f64), "{name} of {}", stats.function);
        }
        let stalled = of("easyremote_stream_stalled_seconds_total");
        assert_eq!(stalled, Some(stats.stalled.as_secs_f64()));
        for (name, histogram) in [
            ("easyremote_call_queue_seconds", stats.queued),
            ("easyremote_call_run_seconds", stats.ran),
        ] {
            assert_eq!(of(&format!("{name}_sum")), Some(histogram.sum().as_secs_f64()), "{name}");
            let mut sum = 0;
            for (bound, n) in histogram.buckets() {
                sum += n;
                let bound = bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
                assert_eq!(bucket(&read, &format!("{name}_bucket"), stats, bound), sum as f64);
            }
        }
        agree_on_batches(&read, role, stats);
    }
    assert_eq!(read.series("easyremote_calls_total").count(), series);
}

fn agree_on_batches(read: &Exposition, role: &str, stats: &FunctionStats) {
    let (function, batches) = (("function", &*stats.function), &stats.batches);
    let of = |name: &str| read.value(name, &[function, ("role", role)]);
    let expected = (batches.runs > 0).then_some(batches.runs as f64);
    assert_eq!(of("easyremote_batch_calls_count"), expected);
    assert_eq!(of("easyremote_batch_calls_sum"), expected.map(|_| batches.calls as f64));
    for (reason, n) in &batches.reasons {
        let reason = format!("{reason:?}").to_lowercase();
        let labels = [function, ("reason", &*reason), ("role", role)];
        assert_eq!(read.value("easyremote_batches_total", &labels), Some(*n as f64));
    }
    let mut sum = 0;
    for (bound, n) in &batches.sizes {
        sum += n;
        let bound = bound.map_or(f64::INFINITY, f64::from);
        assert_eq!(bucket(read, "easyremote_batch_calls_bucket", stats, bound), sum as f64);
    }
}

/// The value of the bucket with this bound.
fn bucket(read: &Exposition, name: &str, stats: &FunctionStats, bound: f64) -> f64 {
    let found = read.series(name).find(|(labels, _)| {
        labels["function"] == stats.function && labels["le"].parse::<f64>() == Ok(bound)
    });
    found.unwrap_or_else(|| panic!("{name} of {} up to {bound}", stats.function)).1
}

/// `node_lost` for `NodeLost`.
fn snake(kind: ErrorKind) -> String {
    let words = format!("{kind:?}").replace(|c: char| c.is_lowercase(), "");
    let mut name = format!("{kind:?}");
    for initial in words.chars() {
        name = name.replace(initial, &format!("_{}", initial.to_ascii_lowercase()));
    }
    name.trim_start_matches('_').to_owned()
}

#[tokio::test]
async fn each_role_says_how_it_is() {
    let (world, node, client) = World::with(functions![value, held]).await;
    node.report("vram_free", 12.5).unwrap();
    let gate = Gate::closed();
    let mut stream = held::call(&client, gate.key);
    soon(value::call(&client, 1)).await.unwrap();
    let job = soon(value::call(&client, 2).spawn()).await.unwrap();
    soon(job.result()).await.unwrap();
    let reading = tokio::spawn(async move { stream.next().await });
    until(|| node.streams().len() == 1).await;
    until(|| world.gateway.nodes().iter().any(|it| !it.gauges.is_empty() && it.load.is_some()))
        .await;
    until(|| world.gateway.streams().len() == 1).await;

    let read = Exposition::read(&world.gateway.metrics());
    let of = |name: &str| read.value(name, &[("role", "gateway")]).unwrap();
    assert_eq!(of("easyremote_gateway_connections"), 2.0);
    assert_eq!((of("easyremote_gateway_nodes"), of("easyremote_gateway_clients")), (1.0, 1.0));
    assert_eq!(of("easyremote_gateway_unauthenticated_connections"), 0.0);
    let stats = world.gateway.stats();
    assert_eq!(of("easyremote_gateway_calls_total"), stats.calls as f64);
    let open = [("function", "held"), ("role", "gateway")];
    assert_eq!(read.value("easyremote_streams_open", &open), Some(1.0));
    assert_eq!(read.value("easyremote_streams_stalled", &open), Some(0.0));
    let id = ("node", node.id());
    let gauge = [id, ("name", "vram_free"), ("role", "gateway")];
    assert_eq!(read.value("easyremote_node_reported", &gauge), Some(12.5));
    assert!(read.value("easyremote_node_calls_in_flight", &[id, ("role", "gateway")]).is_some());
    assert_eq!(read.series("easyremote_gateway_limit_hits_total").count(), 11);

    let read = Exposition::read(&node.metrics());
    let of = |name: &str| read.value(name, &[("role", "node")]).unwrap();
    assert_eq!(of("easyremote_node_gateways"), 1.0);
    assert_eq!(of("easyremote_node_calls_total"), node.stats().calls as f64);
    let jobs = |state| read.value("easyremote_node_jobs", &[("role", "node"), ("state", state)]);
    assert_eq!((jobs("live"), jobs("kept")), (Some(0.0), Some(1.0)));
    let gauge = [id, ("name", "vram_free"), ("role", "node")];
    assert_eq!(read.value("easyremote_node_reported", &gauge), Some(12.5));
    let kept = [("budget", "kept"), ("role", "node")];
    let limit = read.value("easyremote_node_memory_limit_bytes", &kept).unwrap();
    let charged = read.value("easyremote_node_memory_charged_bytes", &kept).unwrap();
    assert!(0.0 < charged && charged < limit, "{charged} of {limit}");

    let read = Exposition::read(&client.metrics());
    let of = |name: &str| read.value(name, &[("role", "client")]).unwrap();
    assert_eq!(of("easyremote_client_connected"), 1.0);
    assert_eq!(of("easyremote_client_calls_total"), client.stats().calls as f64);
    assert_eq!(of("easyremote_client_streams"), 1.0);
    gate.open();
    assert!(soon(reading).await.unwrap().unwrap().is_ok());
}

#[tokio::test]
async fn both_formats_say_the_same() {
    let (world, node, client) = World::with(functions![value, items, batched]).await;
    soon(value::call(&client, 1)).await.unwrap();
    soon(batched::call(&client, 1)).await.unwrap();
    assert_eq!(soon(items::call(&client, 9).count()).await, 9);
    until(|| world.gateway.functions().iter().all(|it| it.in_flight == 0)).await;
    until(|| world.gateway.nodes().iter().any(|it| it.load.is_some())).await;
    for in_format in [
        &(|format| world.gateway.metrics_in(format)) as &dyn Fn(MetricsFormat) -> String,
        &|format| node.metrics_in(format),
        &|format| client.metrics_in(format),
    ] {
        let old = in_format(MetricsFormat::Prometheus);
        let open = in_format(MetricsFormat::OpenMetrics);
        assert!(open.ends_with("# EOF\n") && !old.contains("# EOF"));
        let (old, open) = (Exposition::read(&old), Exposition::read(&open));
        assert_eq!(old.names(), open.names());
        for (name, of_type) in &old.types {
            let base =
                if of_type == "counter" { name.strip_suffix("_total").unwrap() } else { name };
            assert_eq!(open.types.get(base), Some(of_type), "{name}");
            let unit = ["seconds", "bytes", "ratio"].into_iter().find(|it| base.ends_with(it));
            assert_eq!(open.units.get(base).map(String::as_str), unit, "{name}");
        }
        assert!(old.names().iter().all(|name| name.starts_with("easyremote_")));
    }
}

#[tokio::test]
async fn ids_of_nodes_are_escaped() {
    let world = World::start().await;
    let hostile = "a\"} 1 \\n b{x=\"\\";
    let node = world.node_builder().id(hostile).functions(functions![value]);
    let node = soon(node.serve()).await.unwrap();
    until(|| world.gateway.nodes().iter().any(|it| it.load.is_some())).await;
    for (role, text) in [("gateway", world.gateway.metrics()), ("node", node.metrics())] {
        let read = Exposition::read(&text);
        let labels = [("node", hostile), ("role", role)];
        assert!(read.value("easyremote_node_calls_waiting", &labels).is_some(), "{text}");
    }
}

#[tokio::test]
async fn refused_peers_are_counted_by_reason() {
    let world = World::start().await;
    let ticket = world.gateway.ticket(Role::Client);
    assert!(world.gateway.revoke(Role::Client, "default"));
    for n in 1..=3 {
        let error = soon(Client::connect(ticket.clone())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated);
        let read = Exposition::read(&world.gateway.metrics());
        let of = |reason| [("reason", reason), ("role", "gateway")];
        let refused = |reason| read.value("easyremote_gateway_refused_peers_total", &of(reason));
        assert_eq!((refused("unauthenticated"), refused("other")), (Some(f64::from(n)), None));
        assert_eq!(world.gateway.stats().refused, n as u64);
    }
}

/// The names of metrics in a text of any kind.
fn named(text: &str) -> BTreeSet<String> {
    let starts = text.match_indices("easyremote_").map(|(at, _)| &text[at..]);
    let of = |rest: &str| rest.find(|c: char| !c.is_ascii_lowercase() && c != '_');
    let names = starts.map(|rest| rest[..of(rest).unwrap_or(rest.len())].to_owned());
    names.filter(|name| name != "easyremote_").collect()
}

#[tokio::test]
async fn what_the_guide_says_is_there_and_nothing_else() {
    let (world, node, client) = World::with(functions![value, items, held, batched]).await;
    node.report("vram_free", 12.5).unwrap();
    let gate = Gate::closed();
    let mut stream = held::call(&client, gate.key);
    let reading = tokio::spawn(async move { stream.next().await });
    soon(batched::call(&client, 1)).await.unwrap();
    let old = world.gateway.add_token(Role::Client, "old").unwrap();
    assert!(world.gateway.revoke(Role::Client, "old"));
    soon(Client::connect(old)).await.unwrap_err();
    until(|| world.gateway.stats().refused > 0 && world.gateway.streams().len() == 1).await;
    let told = |it: &easyremote::gateway::NodeInfo| {
        !it.gauges.is_empty() && it.load.is_some_and(|load| load.cpu_percent.is_some())
    };
    until(|| world.gateway.nodes().iter().any(told)).await;
    let texts = [world.gateway.metrics(), node.metrics(), client.metrics()];
    let (mut names, mut families) = (BTreeSet::new(), BTreeSet::new());
    for read in texts.iter().map(|text| Exposition::read(text)) {
        families.extend(read.types.keys().cloned());
        names.extend(read.names());
    }
    let operations = include_str!("../../docs/operations.md");
    for (page, text) in [
        ("grafana.json", include_str!("../../docs/grafana.json")),
        ("alerts.yml", include_str!("../../docs/alerts.yml")),
        ("operations.md", operations),
    ] {
        for name in named(text) {
            assert!(names.contains(&name) || families.contains(&name), "{name} in {page}");
        }
    }
    for family in &families {
        let short = |role| family.strip_prefix(role).map(|rest| format!("`..{rest}`"));
        let short = short("easyremote_gateway").or_else(|| short("easyremote_client"));
        let full = format!("`{family}`");
        let is_told = [Some(full), short].iter().flatten().any(|it| operations.contains(it));
        assert!(is_told, "{family} is not in operations.md");
    }
    gate.open();
    soon(reading).await.unwrap();
}

#[test]
fn the_alerts_of_the_guide_are_those_of_the_rules() {
    let plain = |text: &str| text.split_whitespace().collect::<String>();
    let rules = plain(include_str!("../../docs/alerts.yml"));
    let operations = include_str!("../../docs/operations.md");
    let (_, alerts) = operations.split_once("**Alerts.**").unwrap();
    let (alerts, _) = alerts.split_once("## Limits").unwrap();
    let rows = alerts.lines().filter_map(|line| line.strip_suffix("` |")?.split_once("| `"));
    let mut shown = 0;
    for (_, expression) in rows {
        assert!(rules.contains(&plain(&expression.replace("\\|", "|"))), "{expression}");
        shown += 1;
    }
    assert_eq!(shown, rules.matches("-alert:").count());
}
