//! A browser's `EventSource` whose connection is cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use easyremote::http::HttpOptions;
use easyremote::{Gateway, Node, Role, functions, remote};
use futures::{Stream, StreamExt, stream};
use page::browser::Browser;
use page::soon;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

/// Streams that run.
static RUNNING: AtomicU64 = AtomicU64::new(0);

struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts from 0, every few milliseconds.
#[remote(stream)]
fn ticks(to: u64) -> impl Stream<Item = u64> {
    RUNNING.fetch_add(1, Ordering::SeqCst);
    let running = Arc::new(Running);
    stream::iter(0..to).then(move |n| {
        let running = running.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            drop(running);
            n
        }
    })
}

/// Passes connections on, until it cuts all of them.
struct Cutter {
    cut: broadcast::Sender<()>,
    port: u16,
}

impl Cutter {
    async fn start(listener: TcpListener, to: std::net::SocketAddr) -> Self {
        let (cut, _) = broadcast::channel(1);
        let (cuts, port) = (cut.clone(), listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            while let Ok((mut here, _)) = listener.accept().await {
                let mut is_cut = cuts.subscribe();
                tokio::spawn(async move {
                    let mut there = TcpStream::connect(to).await?;
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut here, &mut there) => {}
                        // A reset, as that of a network that is gone.
                        _ = is_cut.recv() => {
                            here.set_zero_linger()?;
                            there.set_zero_linger()?;
                        }
                    }
                    std::io::Result::Ok(())
                });
            }
        });
        Self { cut, port }
    }
}

/// Waits until the page has seen so many items.
async fn seen(browser: &Browser, items: usize) -> Vec<u64> {
    soon(async {
        loop {
            let all = browser.run("return window.seen", Vec::new()).await;
            let all: Vec<u64> = serde_json::from_value(all).unwrap();
            if all.len() >= items {
                return all;
            }
            // Nothing tells a driver of WebDriver that a page has changed.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

/// Opens the stream in the page, with a ticket that the page asks for.
const LISTEN: &str = "
    const [bearer, to, query, done] = arguments;
    window.seen = []; window.ends = []; window.opened = 0;
    fetch('/ticket', {
        method: 'POST',
        headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
        body: JSON.stringify({ function: 'ticks', arguments: [to], query }),
    }).then((answer) => answer.json()).then(({ url }) => {
        window.source = new EventSource(url);
        source.onopen = () => { window.opened += 1; };
        source.onmessage = (event) => window.seen.push(JSON.parse(event.data));
        for (const last of ['end', 'problem']) {
            source.addEventListener(last, (event) => window.ends.push([last, JSON.parse(event.data)]));
        }
        done(true);
    }).catch((error) => done(String(error)));";

#[tokio::test]
async fn an_event_source_that_is_cut_goes_on_without_a_gap() {
    let Some(browser) = Browser::start().await else { return };
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve().await.unwrap();
    let ticket = gateway.ticket(Role::Node);
    let node = Node::serve(ticket, functions![ticks]).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    let options = HttpOptions::new("127.0.0.1:0").hosts([host.clone()]);
    let http = gateway.serve_http(options).await.unwrap();
    let cutter = Cutter::start(listener, http.local_addr()).await;
    let bearer = gateway.bearer(Role::Client, "default").unwrap().to_string();
    // A document of the same origin, whose policy would let no script connect.
    browser.chromium("Page.setBypassCSP", json!({ "enabled": true })).await;
    browser.open(&format!("http://127.0.0.1:{}/health", cutter.port)).await;

    // Without `resume=1` the function stops, and nothing comes again.
    let listen = async |to: u64, query: &str| {
        let arguments = vec![json!(bearer), json!(to), json!(query)];
        let done = soon(browser.client.execute_async(LISTEN, arguments)).await.unwrap();
        assert_eq!(done, true);
    };
    listen(1_000_000, "").await;
    seen(&browser, 20).await;
    cutter.cut.send(()).unwrap();
    soon(async {
        while RUNNING.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    const ITEMS: u64 = 2_000;
    listen(ITEMS, "resume=1").await;
    for n in 1..=3 {
        seen(&browser, n * 300).await;
        cutter.cut.send(()).unwrap();
    }
    let all = seen(&browser, ITEMS as usize).await;
    assert!(all.iter().copied().eq(0..ITEMS), "a gap or a duplicate: {all:?}");
    let ends = soon(async {
        loop {
            // It asks once more after the end, and is told that there is nothing.
            let state = "return [window.ends, window.opened, window.source.readyState]";
            let state = browser.run(state, Vec::new()).await;
            if state[2] == 2 {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let expected: Value = json!([[["end", { "items": ITEMS }]], 4, 2]);
    assert_eq!(ends, expected);
    assert_eq!(RUNNING.load(Ordering::SeqCst), 0);
    drop(node);
}
