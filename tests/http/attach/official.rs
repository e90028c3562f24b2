//! The official Python client of the OpenAI API, where it is installed: `OPENAI_PYTHON` is a Python
//! that has it.

use std::process::Stdio;
use std::sync::atomic::Ordering;

use common::{soon, until};
use easyremote::Role;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::Site;
use crate::attach::model_server::ModelServer;
use crate::attach::streams::a_box;

#[tokio::test(flavor = "multi_thread")]
async fn the_official_client_streams_leaves_and_reads_errors() {
    let Some(python) = std::env::var_os("OPENAI_PYTHON") else {
        println!("skipped: `OPENAI_PYTHON` names no Python with the package `openai`");
        return;
    };
    let site = Site::start().await;
    let server = ModelServer::start(&["tiny"]).await;
    let mut process = Some(a_box(&site, &server, "box-1"));
    server.seen.tokens.add_permits(1_000);
    let url = format!("http://{}", site.address());
    let bearer = site.gateway.bearer(Role::Client, "default").unwrap().to_string();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/http/attach/official_client.py");
    let mut client = Command::new(python)
        .args([script, &url, &bearer])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut answers = client.stdin.take().unwrap();
    let mut lines = BufReader::new(client.stdout.take().unwrap()).lines();
    let (mut told, mut asked) = (Vec::new(), 0);
    while let Some(line) = soon(lines.next_line()).await.unwrap() {
        told.push(line.clone());
        let answer = match &*line {
            "left" => {
                until(|| server.seen.ended_early.load(Ordering::SeqCst) == 1).await;
                "ended"
            }
            "kill before" => {
                asked = server.seen.asked().len();
                let (mut doomed, seen) = (process.take().unwrap(), server.seen.clone());
                tokio::spawn(async move {
                    until(|| seen.running.load(Ordering::SeqCst) == 1).await;
                    doomed.kill();
                });
                "go on"
            }
            "another" => {
                assert_eq!(server.seen.asked().len(), asked + 1, "the client asks again");
                process = Some(a_box(&site, &server, "box-2"));
                server.seen.tokens.add_permits(1_000);
                "attached"
            }
            "kill" => {
                process.take().unwrap().kill();
                "go on"
            }
            _ => continue,
        };
        answers.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
    assert!(soon(client.wait()).await.unwrap().success(), "{told:?}");
    assert_eq!(told.last().map(String::as_str), Some("done"));
}
