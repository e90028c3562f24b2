//! `easyremote top` and `stream --plot`, in a real terminal.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::soon;
use common::tool::binary;
use easyremote::{functions, remote};
use futures::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use crate::tool::Rig;

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

/// A reading every 10 ms; endless unless `n` is given.
#[remote(stream)]
fn sensor(n: Option<u64>) -> impl Stream<Item = Value> {
    let readings = stream::iter(0..n.unwrap_or(u64::MAX)).then(|n| async move {
        tokio::time::sleep(Duration::from_millis(10)).await;
        json!({ "at": n, "value": { "degrees": 20 + n % 7 } })
    });
    readings.boxed()
}

/// A terminal, ended with the test.
struct Terminal(String);

impl Terminal {
    /// Runs a command line in a terminal of this size, and says then how it has ended. `None` where
    /// there is no tmux.
    fn start(line: &str, width: u32, height: u32) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let terminal = Self(format!("easyremote-{}-{number}", std::process::id()));
        let line = format!("{line}; echo ended with $?; read nothing");
        let (width, height) = (width.to_string(), height.to_string());
        let started = terminal.tmux(&["new-session", "-d", "-x", &width, "-y", &height, &line]);
        if started.is_none() {
            eprintln!("skipped: there is no tmux");
        }
        started.map(|_| terminal)
    }

    fn tmux(&self, words: &[&str]) -> Option<String> {
        let mut tmux = Command::new("tmux");
        tmux.args(["-L", &self.0, "-f", "/dev/null"]).args(words).env("SHELL", "/bin/sh");
        let output = tmux.env_remove("EASYREMOTE_GATEWAY").env_remove("TMUX").output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output.status.success().then_some(text)
    }

    /// Waits until the screen is as wanted, and returns it.
    async fn until(&self, wanted: impl Fn(&str) -> bool) -> String {
        let last = std::sync::Mutex::new(String::new());
        let seen = async {
            loop {
                let screen = self.tmux(&["capture-pane", "-p"]).unwrap_or_default();
                if wanted(&screen) {
                    return screen;
                }
                last.lock().unwrap().clone_from(&screen);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
        seen.unwrap_or_else(|_| panic!("not seen in a minute:\n{}", last.lock().unwrap()))
    }

    fn press(&self, key: &str) {
        self.tmux(&["send-keys", key]).unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}

/// The command line of the tool.
fn line(rig: &Rig, words: &str) -> String {
    format!("{} {} {words}", binary("cli").display(), rig.options().join(" "))
}

#[tokio::test(flavor = "multi_thread")]
async fn top_shows_what_changes_until_a_key_ends_it() {
    let rig = Rig::with(functions![add, sensor]).await;
    let top = line(&rig, "top --interval 100ms");
    let Some(terminal) = Terminal::start(&top, 120, 30) else { return };
    let screen = terminal.until(|screen| screen.contains("nodes: 1")).await;
    for part in ["node-1", "blue", "add", "sensor", "q quit", "tab other table", "calls"] {
        assert!(screen.contains(part), "{part}:\n{screen}");
    }
    let second = rig.world.node_builder().id("node-2").functions(functions![add]);
    let second = soon(second.serve()).await.unwrap();
    terminal.until(|screen| screen.contains("node-2")).await;
    drop(second);
    terminal.until(|screen| !screen.contains("node-2")).await;
    let client = rig.world.client().await;
    let mut items = sensor::call(&client, None);
    soon(items.next()).await.unwrap().unwrap();
    terminal.until(|screen| screen.contains("streams 1")).await;
    let shown = |screen: &str| {
        let row = |line: &str| {
            line.contains("sensor") && line.contains("default (client-") && line.contains("node-1")
        };
        screen.contains("streams: 1") && screen.lines().any(row)
    };
    terminal.until(shown).await;
    terminal.press("Space");
    terminal.until(|screen| screen.contains("PAUSED")).await;
    terminal.tmux(&["resize-window", "-x", "50", "-y", "14"]).unwrap();
    terminal.until(|screen| screen.lines().all(|line| line.chars().count() <= 50)).await;
    terminal.press("q");
    terminal.until(|screen| screen.contains("ended with 0")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn interrupting_top_restores_the_terminal() {
    let rig = Rig::with(functions![add]).await;
    let Some(terminal) = Terminal::start(&line(&rig, "top"), 80, 24) else { return };
    terminal.until(|screen| screen.contains("node-1")).await;
    terminal.press("C-c");
    let screen = terminal.until(|screen| screen.contains("ended with 130")).await;
    assert!(!screen.contains("node-1"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_needs_no_terminal() {
    let rig = Rig::with(functions![add]).await;
    for words in [&["top", "--once"][..], &["top"]] {
        let ended = rig.run(words).await;
        assert_eq!((ended.code, &*ended.err), (Some(0), ""));
        assert!(ended.out.starts_with("nodes 1   functions 1   running 0\n"), "{}", ended.out);
        assert!(ended.out.contains("node-1") && !ended.out.contains('\x1b'), "{}", ended.out);
    }
    for _ in 0..3 {
        assert_eq!(rig.run(&["call", "add", "1", "2"]).await.code, Some(0));
    }
    let document = rig.run(&["--json", "top", "--once"]).await.json();
    let figures = &document["functions"][0]["figures"];
    assert_eq!((&figures["returned"], &figures["ran"]["count"]), (&json!(3), &json!(3)));
    assert!(figures["ran"]["p99_us"].is_u64(), "{figures}");
    assert_eq!(document["nodes"][0]["id"], json!("node-1"));
    assert_eq!(
        (&document["functions"][0]["name"], &document["gateway"]["nodes"]),
        (&json!("add"), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_admin_sees_nodes_and_no_counters() {
    let rig = Rig::with(functions![add]).await;
    let ticket = rig.world.gateway.ticket(easyremote::Role::Client).to_string();
    let document = rig.run(&["--json", "top", "--once", "--gateway", &ticket]).await.json();
    assert_eq!(document["functions"][0]["figures"], Value::Null);
    assert_eq!(
        (&document["gateway"], &document["nodes"][0]["id"]),
        (&Value::Null, &json!("node-1"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_of_a_stream_is_plotted_live() {
    let rig = Rig::with(functions![sensor]).await;
    for field in ["value.degrees", "/value/degrees"] {
        let plot = line(&rig, &format!("stream sensor null --latest --plot {field}"));
        let Some(terminal) = Terminal::start(&plot, 100, 25) else { return };
        let dots = |screen: &str| screen.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c));
        let screen = terminal.until(|screen| dots(screen) && screen.contains("26")).await;
        assert!(screen.contains("sensor") && screen.contains(field), "{screen}");
        assert!(screen.contains("q quit"), "{screen}");
        terminal.press("Space");
        terminal.until(|screen| screen.contains("paused")).await;
        terminal.press("q");
        terminal.until(|screen| screen.contains("ended with 0")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plot_stays_when_its_stream_has_ended() {
    let rig = Rig::with(functions![sensor]).await;
    let plot = line(&rig, "stream sensor 5 --plot at");
    let Some(terminal) = Terminal::start(&plot, 100, 25) else { return };
    let screen = terminal.until(|screen| screen.contains("items: 5   ended")).await;
    assert!(screen.contains("at: 4"), "{screen}");
    terminal.press("q");
    terminal.until(|screen| screen.contains("ended with 0")).await;
    let piped = rig.run(&["--json", "stream", "sensor", "5", "--plot", "at"]).await;
    assert_eq!((piped.code, &piped.error()["kind"]), (Some(2), &json!("Usage")));
}
