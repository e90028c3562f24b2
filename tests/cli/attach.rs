//! `easyremote attach`.

use common::{soon, until};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::tool::{Rig, finish, signal};

/// A server that answers every request with its models, and tells each request's head.
async fn model_server() -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (heard, heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let _ = heard.send(String::from_utf8(head).unwrap().to_ascii_lowercase());
            let body = json!({ "data": [{ "id": "tiny" }] }).to_string();
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, heads)
}

#[tokio::test]
async fn a_server_is_attached_until_a_signal() {
    let rig = Rig::empty().await;
    let (url, mut heads) = model_server().await;
    let words = ["--json", "attach", "gpu-1", &url, "--tag", "gpu", "--concurrency", "2"];
    let words =
        [&words[..], &["--header-env", "X-Key=BOX_KEY", "--allow", "GET /api/tags"]].concat();
    let mut child = rig.command(&words).env("BOX_KEY", "secret of the box").spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = soon(lines.next_line()).await.unwrap().unwrap();
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(told, json!({ "name": "gpu-1", "path": "/attach/gpu-1", "models": ["tiny"] }));
    assert!(soon(heads.recv()).await.unwrap().contains("x-key: secret of the box"));
    let nodes = rig.world.gateway.nodes();
    assert_eq!(
        (&*nodes[0].id, &nodes[0].tags[..]),
        ("gpu-1", &["gpu".into(), "model:tiny".into()][..])
    );
    signal(&child, "TERM");
    let ended = finish(child).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!ended.err.contains("secret"), "{ended:?}");
    until(|| rig.world.gateway.nodes().is_empty()).await;
}

#[tokio::test]
async fn mistakes_are_told_before_anything_is_attached() {
    let rig = Rig::empty().await;
    for words in [
        &["attach", "gpu-1", "127.0.0.1:80"][..],
        &["attach", "gpu-1", "http://user:secret@127.0.0.1"],
        &["attach", "gpu/1", "http://127.0.0.1"],
        &["attach", "gpu-1", "http://127.0.0.1", "--allow", "everything"],
        &["attach", "gpu-1", "http://127.0.0.1", "--header-env", "X-Key=NOT_SET_ANYWHERE"],
        &["attach", "gpu-1", "http://127.0.0.1", "--header-env", "X-Key"],
        &["attach", "gpu-1", "http://127.0.0.1", "--head-timeout", "soon"],
        &["attach", "gpu-1"],
    ] {
        let ended = rig.run(words).await;
        assert_eq!(ended.code, Some(2), "{words:?}: {ended:?}");
        assert!(!ended.err.contains("secret"), "{ended:?}");
    }
    assert!(rig.world.gateway.nodes().is_empty());
}
