//! A server that serves the page of a real gateway, and says about itself what a test wants.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use easyremote::Gateway;
use easyremote::http::HttpOptions;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::soon;

/// The only bearer that is valid here.
pub const BEARER: &str = "good";

/// The server; it ends with the runtime of its test.
pub struct Stub {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    page: String,
    functions: Value,
    first: Vec<String>,
    feed: broadcast::Sender<Option<String>>,
    is_down: AtomicBool,
}

impl Stub {
    /// Starts one whose feed begins with these events.
    pub async fn start(functions: Value, first: &[(&str, Value)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            page: page().await,
            functions,
            first: first.iter().map(|(event, data)| framed(event, data)).collect(),
            feed: broadcast::channel(64).0,
            is_down: AtomicBool::new(false),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(serving.clone(), stream));
            }
        });
        Self { address, shared }
    }

    /// The address of the page, with the bearer and further parts of a fragment.
    pub fn url(&self, more: &str) -> String {
        format!("http://{}/#bearer={BEARER}{more}", self.address)
    }

    /// Sends an event to all pages.
    pub fn send(&self, event: &str, data: &Value) {
        let _ = self.shared.feed.send(Some(framed(event, data)));
    }

    /// Ends all feeds, and refuses others until [`rise`](Self::rise).
    pub fn fall(&self) {
        self.shared.is_down.store(true, Ordering::SeqCst);
        let _ = self.shared.feed.send(None);
    }

    pub fn rise(&self) {
        self.shared.is_down.store(false, Ordering::SeqCst);
    }
}

fn framed(event: &str, data: &Value) -> String {
    format!("event: {event}\ndata: {data}\n\n")
}

/// Returns what a gateway answers to `GET /`.
async fn page() -> String {
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve();
    let gateway = soon(gateway).await.unwrap();
    let http = soon(gateway.serve_http(HttpOptions::new("127.0.0.1:0"))).await.unwrap();
    let mut stream = TcpStream::connect(http.local_addr()).await.unwrap();
    let request =
        format!("GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", http.local_addr());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

async fn answer(shared: Arc<Shared>, mut stream: TcpStream) -> Option<()> {
    let (head, body) = request(&mut stream).await?;
    let path = head.split(' ').nth(1)?;
    let is_known =
        head.to_ascii_lowercase().contains(&format!("authorization: bearer {BEARER}\r\n"));
    if path == "/" {
        return stream.write_all(shared.page.as_bytes()).await.ok();
    }
    if !is_known {
        let problem =
            json!({ "kind": "Unauthenticated", "executed": "No", "detail": "it is not valid" });
        return reply(&mut stream, "401 Unauthorized", &problem.to_string()).await;
    }
    match path {
        "/functions" => reply(&mut stream, "200 OK", &shared.functions.to_string()).await,
        "/feed" if shared.is_down.load(Ordering::SeqCst) => None,
        "/feed" => feed(&shared, stream).await,
        // What arrived, as it arrived.
        path if path.starts_with("/call/") => reply(&mut stream, "200 OK", &body).await,
        _ => reply(&mut stream, "404 Not Found", "{}").await,
    }
}

async fn feed(shared: &Shared, mut stream: TcpStream) -> Option<()> {
    let mut events = shared.feed.subscribe();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    for event in &shared.first {
        stream.write_all(event.as_bytes()).await.ok()?;
    }
    while let Some(event) = events.recv().await.ok()? {
        stream.write_all(event.as_bytes()).await.ok()?;
    }
    None
}

async fn reply(stream: &mut TcpStream, status: &str, body: &str) -> Option<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

/// Reads the head and the body of a request.
async fn request(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let mut lengths = head.lines().filter_map(|line| {
            line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok()
        });
        let length: usize = lengths.next().unwrap_or(0);
        if body.len() >= length {
            return Some((format!("{head}\r\n"), body.to_owned()));
        }
    }
}
