//! A small OpenAI-compatible server, and servers that answer with whatever a test says.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

/// A request as it has arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrived {
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// The server.
#[derive(Debug)]
pub(crate) struct ModelServer {
    pub(crate) address: SocketAddr,
    pub(crate) seen: Arc<Seen>,
    _task: AbortOnDropHandle<()>,
}

/// What it has seen, and what it may do.
#[derive(Debug)]
pub(crate) struct Seen {
    models: Vec<String>,
    /// Tokens that may be generated; a request takes them one by one.
    pub(crate) tokens: Semaphore,
    pub(crate) requests: Mutex<Vec<Arrived>>,
    /// Requests that run, and that were ended by their caller.
    pub(crate) running: AtomicUsize,
    pub(crate) ended_early: AtomicUsize,
    /// Bytes of the body that has been read last.
    pub(crate) read: AtomicU64,
    /// The answer to everything but the list of models; `None` for that of an API.
    canned: Option<Vec<u8>>,
}

impl Seen {
    /// The requests so far, the looks at the models left out.
    pub(crate) fn asked(&self) -> Vec<Arrived> {
        let requests = self.requests.lock().unwrap();
        requests
            .iter()
            .filter(|request| !request.line.starts_with("GET /v1/models "))
            .cloned()
            .collect()
    }
}

impl ModelServer {
    /// A server with these models, which generates a token for each permit.
    pub(crate) async fn start(models: &[&str]) -> Self {
        Self::with(models, None).await
    }

    /// A server that answers everything but the list of models with these bytes, and closes then.
    pub(crate) async fn canned(models: &[&str], answer: impl Into<Vec<u8>>) -> Self {
        Self::with(models, Some(answer.into())).await
    }

    async fn with(models: &[&str], canned: Option<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen {
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            tokens: Semaphore::new(0),
            requests: Mutex::default(),
            running: AtomicUsize::new(0),
            ended_early: AtomicUsize::new(0),
            read: AtomicU64::new(0),
            canned,
        });
        let accepting = seen.clone();
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = accepting.clone();
                tokio::spawn(async move { seen.serve(stream).await });
            }
        }));
        Self { address, seen, _task: task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Seen {
    async fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut stream = BufReader::new(stream);
        let request = self.read_request(&mut stream).await?;
        self.requests.lock().unwrap().push(request.clone());
        let path = request.line.split(' ').nth(1)?;
        if path == "/v1/models" {
            let data = self.models.iter().map(|id| json!({ "id": id, "object": "model" }));
            let data: Vec<_> = data.collect();
            return answer(&mut stream, &json!({ "object": "list", "data": data })).await;
        }
        if let Some(canned) = &self.canned {
            let _ = stream.get_mut().write_all(canned).await;
            return Some(());
        }
        if path.split('?').next() != Some("/v1/chat/completions") {
            let told = json!({ "line": request.line, "headers": request.headers, "length": request.body.len() });
            return answer(&mut stream, &told).await;
        }
        self.running.fetch_add(1, Ordering::SeqCst);
        let asked: Value = serde_json::from_slice(&request.body).ok()?;
        let ended = self.complete(&mut stream, &asked).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        if ended.is_none() {
            self.ended_early.fetch_add(1, Ordering::SeqCst);
        }
        ended
    }

    /// Generates tokens, up to `max_tokens`, one for each permit.
    async fn complete(&self, stream: &mut BufReader<TcpStream>, asked: &Value) -> Option<()> {
        let model = asked["model"].clone();
        let most = asked["max_tokens"].as_u64().unwrap_or(u64::MAX);
        let streams = asked["stream"] == json!(true);
        if streams {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nSet-Cookie: box=1\r\n\
                        Transfer-Encoding: chunked\r\n\r\n";
            stream.get_mut().write_all(head.as_bytes()).await.ok()?;
        }
        let mut text = String::new();
        for n in 0..most {
            let permit = tokio::select! {
                permit = self.tokens.acquire() => permit.ok()?,
                // The caller sends nothing more: what is read is its end.
                _ = stream.read_u8() => return None,
            };
            permit.forget();
            let token = format!("t{n} ");
            if streams {
                let choice =
                    json!({ "index": 0, "delta": { "content": token }, "finish_reason": null });
                let event = json!({
                    "id": "c", "object": "chat.completion.chunk", "created": 0, "model": model,
                    "choices": [choice],
                });
                chunk(stream, &format!("data: {event}\n\n")).await?;
            }
            text.push_str(&token);
        }
        if streams {
            chunk(stream, "data: [DONE]\n\n").await?;
            return stream.get_mut().write_all(b"0\r\n\r\n").await.ok();
        }
        let message = json!({ "role": "assistant", "content": text });
        let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
        let whole = json!({
            "id": "c", "object": "chat.completion", "created": 0, "model": model,
            "choices": [choice],
        });
        answer(stream, &whole).await
    }

    async fn read_request(&self, stream: &mut BufReader<TcpStream>) -> Option<Arrived> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).ok()?;
        let mut lines = head.trim_end().split("\r\n");
        let line = lines.next()?.to_owned();
        let headers: HashMap<_, _> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            let mut left: usize = length.parse().ok()?;
            let mut buffer = vec![0; 1 << 16];
            while left > 0 {
                let n = stream.read(&mut buffer[..left.min(1 << 16)]).await.ok()?;
                if n == 0 {
                    return None;
                }
                body.extend_from_slice(&buffer[..n]);
                left -= n;
                self.read.fetch_add(n as u64, Ordering::SeqCst);
            }
        } else if headers.contains_key("transfer-encoding") {
            while let Some(piece) = read_chunk(stream).await? {
                self.read.fetch_add(piece.len() as u64, Ordering::SeqCst);
                body.extend(piece);
            }
        }
        Some(Arrived { line, headers, body })
    }
}

async fn read_chunk(stream: &mut BufReader<TcpStream>) -> Option<Option<Vec<u8>>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    let length = usize::from_str_radix(std::str::from_utf8(&line).ok()?.trim(), 16).ok()?;
    let mut piece = vec![0; length + 2];
    stream.read_exact(&mut piece).await.ok()?;
    piece.truncate(length);
    Some((length > 0).then_some(piece))
}

async fn chunk(stream: &mut BufReader<TcpStream>, text: &str) -> Option<()> {
    let framed = format!("{:x}\r\n{text}\r\n", text.len());
    stream.get_mut().write_all(framed.as_bytes()).await.ok()
}

async fn answer(stream: &mut BufReader<TcpStream>, body: &Value) -> Option<()> {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all((head + &body).as_bytes()).await.ok()
}
