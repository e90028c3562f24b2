//! What a node warns of.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use common::{World, soon};
use easyremote::{functions, remote};
use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use crate::TURN;

#[remote]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(needs = "gpu, eu")]
fn stored() {}

#[remote(inline)]
fn nap(millis: u64) -> bool {
    std::thread::sleep(Duration::from_millis(millis));
    *PLACE.lock().unwrap() == Some(std::thread::current().id())
}

/// The thread that hears what is logged.
static PLACE: Mutex<Option<ThreadId>> = Mutex::new(None);

/// Writes down what is told on this thread, and nothing below a warning.
struct Listener(Arc<Mutex<Vec<String>>>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        struct Line(String);
        impl Visit for Line {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                write!(self.0, "{}={value:?} ", field.name()).unwrap();
            }
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn a_node_without_the_tag_is_warned() {
    let _turn = TURN.lock().await;
    let world = World::start().await;
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let listening = tracing::subscriber::set_default(Listener(lines.clone()));
    let node = world.node_builder().id("gpu-1").tag("gpu").functions(functions![stored]);
    let _node = soon(node.serve()).await.unwrap();
    drop(listening);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["function=\"stored\"", "tag=\"eu\"", "node=gpu-1"] {
        assert!(lines[0].contains(part), "{part}: {lines:?}");
    }
}

#[tokio::test]
async fn a_middleware_that_panics_after_each_call_fills_no_log() {
    let _turn = TURN.lock().await;
    let world = World::start().await;
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let node = world.node_builder().functions(functions![add]).wrap(|ctx, next| async move {
        let text = ctx.metadata("text").unwrap_or_default().to_owned();
        next.run(ctx).await?;
        panic!("{text}")
    });
    let _node = soon(node.serve()).await.unwrap();
    let client = soon(world.client_builder().connect()).await.unwrap();
    let listening = tracing::subscriber::set_default(Listener(lines.clone()));
    let text = format!("a caller's\nline {}", "x".repeat(4_000));
    for n in 0..200 {
        assert_eq!(soon(add::call(&client, n, 1).metadata("text", &text)).await.unwrap(), n + 1);
    }
    let told = || lines.lock().unwrap().iter().any(|line| line.contains("middleware"));
    common::until(told).await;
    drop(listening);
    let lines = lines.lock().unwrap();
    let of_middleware: Vec<_> = lines.iter().filter(|line| line.contains("middleware")).collect();
    // One a second, and the calls take less than a minute.
    assert!(of_middleware.len() <= 60, "{} lines", of_middleware.len());
    for line in of_middleware {
        assert!(line.len() < 2_000 && !line.contains('\n'), "{line}");
    }
}

#[tokio::test]
async fn an_inline_function_that_turns_slow_is_told_of_once() {
    let _turn = TURN.lock().await;
    *PLACE.lock().unwrap() = Some(std::thread::current().id());
    let world = World::start().await;
    let lines = Arc::<Mutex<Vec<String>>>::default();
    let node = world.node_builder().functions(functions![nap]);
    let _node = soon(node.serve()).await.unwrap();
    // On separate streams, it runs on the async thread, which is that of this test.
    let client = soon(world.client_builder().multiplex(false).connect()).await.unwrap();
    let listening = tracing::subscriber::set_default(Listener(lines.clone()));
    let told = || lines.lock().unwrap().iter().filter(|line| line.contains("inline")).count();
    soon(async { while !nap::call(&client, 0).await.unwrap() {} }).await;
    while told() == 0 {
        soon(nap::call(&client, 5)).await.unwrap();
    }
    for _ in 0..20 {
        assert!(!soon(nap::call(&client, 5)).await.unwrap(), "on a blocking thread");
    }
    drop(listening);
    assert_eq!(told(), 1, "{lines:?}");
    let lines = lines.lock().unwrap();
    assert!(lines.iter().any(|line| line.contains("function=\"nap\"")), "{lines:?}");
}
