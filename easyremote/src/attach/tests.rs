use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::attach::{AttachedServer, LocalServer};
use crate::client::instance::Instance;
use crate::client::{Client, StreamCall};
use crate::error::{CallError, ErrorKind, Executed, StreamError};
use crate::function::forward::{
    AnswerHead, AnswerPart, ForwardCause, ForwardFailure, ForwardRequest, RequestHead,
};
use crate::gateway::Gateway;
use crate::node::Node;
use crate::transport::auth::dial_options::DialOptions;

async fn soon<F: Future>(event: F) -> F::Output {
    timeout(Duration::from_secs(20), event).await.expect("it takes too long")
}

/// A server whose side of each connection a test writes, attached to a gateway with a client.
struct Rig {
    listener: TcpListener,
    attached: AttachedServer,
    client: Client,
    _gateway: Gateway,
    _state: TempDir,
}

const NO_MODELS: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";

impl Rig {
    async fn start() -> Self {
        Self::with(|server| server, NO_MODELS).await
    }

    async fn with(options: impl FnOnce(LocalServer) -> LocalServer, models: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = tempfile::tempdir().unwrap();
        let gateway = Gateway::builder("127.0.0.1:0").state_dir(state.path()).serve();
        let gateway = soon(gateway).await.unwrap();
        let (at, dial) = (gateway.local_addr(), DialOptions::new().state_dir(state.path()));
        let server = LocalServer::new(format!("http://{}", listener.local_addr().unwrap()));
        let attaching =
            options(server).attach("box", Node::builder(at).tag("gpu").dial(dial.clone()));
        let answering = async {
            let mut stream = accept(&listener).await.1;
            stream.write_all(models.as_bytes()).await.unwrap();
        };
        let (attached, ()) = soon(futures::future::join(attaching, answering)).await;
        let client = soon(Client::builder(at).dial(dial).connect()).await.unwrap();
        Self { listener, attached: attached.unwrap(), client, _gateway: gateway, _state: state }
    }

    fn call(
        &self,
        head: RequestHead,
        body: impl Stream<Item = Bytes> + Send + 'static,
    ) -> StreamCall<ForwardRequest> {
        Instance::new(&self.client).named("box").stream_call_with((head,), body)
    }

    fn get(&self, target: &str) -> StreamCall<ForwardRequest> {
        self.call(head("GET", target, &[], Some(0)), stream::empty())
    }

    /// Makes a request that the server answers with these bytes, and then closes.
    async fn answered(&self, answer: &str) -> Vec<Result<AnswerPart, ForwardFailure>> {
        let mut call = self.get("/v1/models/x");
        let answering = async {
            let mut stream = accept(&self.listener).await.1;
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (first, ()) = soon(futures::future::join(call.next(), answering)).await;
        let mut parts = vec![own(first.unwrap())];
        while let Some(part) = soon(call.next()).await {
            parts.push(own(part));
        }
        parts
    }
}

type CallFailure = CallError<StreamError<ForwardFailure, ForwardFailure>>;

fn own(part: Result<AnswerPart, CallFailure>) -> Result<AnswerPart, ForwardFailure> {
    part.map_err(|error| match error {
        CallError::Function(StreamError::Setup(own) | StreamError::Item(own)) => own,
        CallError::Remote(error) => panic!("{error}"),
    })
}

fn head(method: &str, target: &str, headers: &[(&str, &str)], length: Option<u64>) -> RequestHead {
    let headers = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    RequestHead { method: method.into(), target: target.into(), headers, length }
}

/// Accepts a connection, and reads the head of its request.
async fn accept(listener: &TcpListener) -> (String, TcpStream) {
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_ascii_lowercase(), stream)
}

#[tokio::test]
async fn a_request_arrives_without_what_was_for_the_gateway() {
    let rig = Rig::with(|server| server.header("X-Key", "of the box"), NO_MODELS).await;
    let headers = [
        ("authorization", "Bearer of the caller"),
        ("cookie", "a=b"),
        ("x-key", "of the caller"),
        ("host", "elsewhere"),
        ("x-forwarded-for", "10.0.0.1"),
        ("content-type", "application/json"),
    ];
    let body = stream::iter([Bytes::from_static(b"{\"a\":"), Bytes::from_static(b"1}")]);
    let mut call = rig.call(head("POST", "/v1/rerank?x=1", &headers, Some(7)), body);
    let serving = async {
        let (head, mut stream) = accept(&rig.listener).await;
        let mut body = [0; 7];
        soon(stream.read_exact(&mut body)).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nset-cookie: a=b\r\ncontent-type: x/y\r\n")
            .await
            .unwrap();
        stream.write_all(b"content-length: 2\r\n\r\nok").await.unwrap();
        (head, body)
    };
    let (first, (request, body)) = soon(futures::future::join(call.next(), serving)).await;
    let host = rig.listener.local_addr().unwrap();
    let mut lines: Vec<_> = request.trim_end().split("\r\n").collect();
    assert_eq!(lines.remove(0), "post /v1/rerank?x=1 http/1.1");
    lines.sort_unstable();
    let host = format!("host: {host}");
    let expected =
        ["content-length: 7", "content-type: application/json", &*host, "x-key: of the box"];
    assert_eq!(lines, expected);
    assert_eq!(&body, b"{\"a\":1}");
    let headers = vec![("content-type".to_owned(), "x/y".to_owned())];
    assert_eq!(own(first.unwrap()), Ok(AnswerPart::Head(AnswerHead { status: 200, headers })));
    assert_eq!(own(call.next().await.unwrap()), Ok(AnswerPart::Body(Bytes::from_static(b"ok"))));
    assert!(call.next().await.is_none());
}

#[tokio::test]
async fn chunks_come_as_they_are_made_and_a_drop_ends_the_request() {
    let rig = Rig::start().await;
    let mut call = rig.get("/v1/models");
    let serving = accept(&rig.listener);
    let (_, mut stream) = tokio::select! {
        _ = call.next() => panic!("there is no answer yet"),
        accepted = serving => accepted,
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
    assert!(matches!(own(soon(call.next()).await.unwrap()), Ok(AnswerPart::Head(_))));
    for word in ["one", "two", "six"] {
        stream.write_all(format!("3\r\n{word}\r\n").as_bytes()).await.unwrap();
        let chunk = own(soon(call.next()).await.unwrap());
        assert_eq!(chunk, Ok(AnswerPart::Body(Bytes::copy_from_slice(word.as_bytes()))));
    }
    drop(call);
    // The end of the connection, however it comes.
    let _ = soon(stream.read(&mut [0])).await;
}

#[tokio::test]
async fn what_is_not_listed_does_not_reach_the_server() {
    let rig = Rig::start().await;
    for (method, target, cause) in [
        ("GET", "/", ForwardCause::NotAllowed),
        ("DELETE", "/v1/models/x", ForwardCause::NotAllowed),
        ("GET", "/v1/models/../../api", ForwardCause::Malformed),
        ("GET", "http://10.0.0.1/v1/models", ForwardCause::Malformed),
        ("CONNECT", "/v1/models", ForwardCause::Malformed),
    ] {
        let mut call = rig.call(head(method, target, &[], Some(0)), stream::empty());
        let refused = own(soon(call.next()).await.unwrap()).unwrap_err();
        assert_eq!(refused.cause, cause, "{method} {target}");
    }
    let mut call =
        rig.call(head("GET", "/v1/models", &[("upgrade", "h2c")], Some(0)), stream::empty());
    assert_eq!(own(soon(call.next()).await.unwrap()).unwrap_err().cause, ForwardCause::Malformed);
    assert!(timeout(Duration::ZERO, rig.listener.accept()).await.is_err());
}

#[tokio::test]
async fn answers_that_are_none_are_told_from_others() {
    let rig = Rig::start().await;
    for (answer, cause) in [
        ("HTTP/1.1 302 Found\r\nlocation: http://10.0.0.1/\r\n\r\n", ForwardCause::BadAnswer),
        (
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            ForwardCause::BadAnswer,
        ),
        ("HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n", ForwardCause::BadAnswer),
        ("SSH-2.0-x\r\n", ForwardCause::Unanswered),
        ("", ForwardCause::Unanswered),
        ("HTTP/1.1 200 OK\r\ncontent-len", ForwardCause::Unanswered),
    ] {
        let parts = rig.answered(answer).await;
        assert_eq!(parts.len(), 1, "{answer}");
        assert_eq!(parts[0].as_ref().unwrap_err().cause, cause, "{answer}");
    }
    let flood = "x-a: b\r\n".repeat(100);
    let parts = rig.answered(&format!("HTTP/1.1 200 OK\r\n{flood}\r\n")).await;
    assert_eq!(parts[0].as_ref().unwrap_err().cause, ForwardCause::BadAnswer);
    for broken in ["content-length: 5\r\n\r\nabc", "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"]
    {
        let parts = rig.answered(&format!("HTTP/1.1 200 OK\r\n{broken}")).await;
        let last = parts.last().unwrap().as_ref().unwrap_err();
        assert_eq!((parts.len(), last.cause), (3, ForwardCause::BrokenOff), "{broken}");
    }
}

#[tokio::test]
async fn a_server_that_is_slow_or_gone_is_named() {
    let rig = Rig::with(|server| server.head_timeout(Duration::from_millis(50)), NO_MODELS).await;
    let mut call = rig.get("/v1/models");
    let accepting = accept(&rig.listener);
    let (late, _connection) = soon(futures::future::join(call.next(), accepting)).await;
    assert_eq!(own(late.unwrap()).unwrap_err().cause, ForwardCause::Late);
    let Rig { listener, attached, client, .. } = &rig;
    let port = listener.local_addr().unwrap();
    assert_eq!(attached.node().id(), "box");
    let client = client.clone();
    drop(rig.listener);
    let call = Instance::new(&client).named("box").stream_call_with::<ForwardRequest, _>(
        (head("GET", "/v1/models", &[], Some(0)),),
        stream::empty(),
    );
    let gone = own(soon(std::pin::pin!(call).next()).await.unwrap()).unwrap_err();
    assert_eq!(gone.cause, ForwardCause::Unreachable, "{port}");
}

#[tokio::test]
async fn the_models_of_the_server_are_tags() {
    let list = r#"{"object":"list","data":[{"id":"tiny","object":"model"},{"id":"org/big:7b"}]}"#;
    let length = list.len();
    let models = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{list}");
    let rig = Rig::with(|server| server, &models).await;
    assert_eq!(rig.attached.models(), ["org/big:7b", "tiny"]);
    let nodes = rig.client.nodes().await.unwrap();
    assert_eq!(nodes[0].tags, ["gpu", "model:org/big:7b", "model:tiny"]);
    assert_eq!(nodes[0].functions, ["easyremote.http", "easyremote.http:box"]);
    // Once a request finds that the server is gone, no further one is sent there for a model.
    let Rig { listener, attached, client, .. } = rig;
    drop(listener);
    let call = Instance::new(&client).named("box").stream_call_with::<ForwardRequest, _>(
        (head("GET", "/v1/models", &[], Some(0)),),
        stream::empty(),
    );
    let _ = soon(std::pin::pin!(call).next()).await;
    soon(async {
        while !attached.models().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(attached.node().tags(), ["gpu"]);
}

#[tokio::test]
async fn mistakes_are_found_before_anything_is_sent() {
    let node = || Node::builder("127.0.0.1:1");
    let server = || LocalServer::new("http://127.0.0.1:1");
    for (server, name) in [
        (LocalServer::new("ftp://x"), "box"),
        (server(), ""),
        (server(), "a/b"),
        (server(), "a.b"),
        (server(), "a b"),
        (server().allow("everything"), "box"),
        (server().header("a b", "c"), "box"),
        (server().header("a", "b\nc"), "box"),
    ] {
        let error = server.attach(name, node()).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    }
    let missing = LocalServer::new("https://127.0.0.1:1").authority("/nowhere.pem");
    let error = missing.attach("box", node()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
