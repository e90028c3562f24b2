//! `easyremote token` and `open`, and the HTTP server of `easyremote gateway`.

use std::path::Path;
use std::process::Stdio;

use common::soon;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::tool::{Ended, ended, finish, signal, tool};

/// A gateway with an HTTP server, served by the tool.
struct Served {
    gateway: Child,
    state: tempfile::TempDir,
    /// Its page.
    page: String,
}

impl Served {
    async fn start() -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut command = tool();
        command.args(["--json", "gateway", "127.0.0.1:0", "--http", "127.0.0.1:0", "--state-dir"]);
        let mut gateway = command.arg(state.path()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(gateway.stdout.take().unwrap()).lines();
        let first = soon(lines.next_line()).await.unwrap().expect("the gateway has ended");
        let said: Value = serde_json::from_str(&first).unwrap();
        let page = said["http"].as_str().unwrap().to_owned();
        Self { gateway, state, page }
    }

    /// The tool with these words, as the user of the gateway.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = tool();
        for name in ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"] {
            command.env_remove(name);
        }
        command.args(words).arg("--state-dir").arg(self.state.path());
        command
    }

    async fn run(&self, words: &[&str]) -> Ended {
        ended(self.command(words)).await
    }

    /// The status of a request for `path`.
    async fn status(&self, path: &str, bearer: &str) -> u16 {
        let at = self.page.strip_prefix("http://").unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {at}\r\nAuthorization: Bearer {bearer}\r\n\
             Connection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_to_string(&mut answer)).await.unwrap();
        answer.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_what_its_role_may_see_until_it_is_replaced() {
    let served = Served::start().await;
    let client = served.run(&["token"]).await;
    assert_eq!((client.code, &*client.err), (Some(0), ""), "{client:?}");
    let client = client.out.trim().to_owned();
    assert_eq!(served.status("/functions", &client).await, 200);
    assert_eq!(served.status("/nodes", &client).await, 403);
    let admin = served.run(&["token", "--role", "admin", "--json"]).await.json();
    assert_eq!(admin["role"], "admin");
    let admin = admin["bearer"].as_str().unwrap().to_owned();
    assert_eq!(served.status("/nodes", &admin).await, 200);
    let again = served.run(&["token", "--role", "admin"]).await;
    assert_eq!(again.out.trim(), admin, "it is the same each time");
    let new = served.run(&["token", "--role", "admin", "--rotate"]).await;
    let new = new.out.trim().to_owned();
    assert_ne!(new, admin);
    soon(async { while served.status("/nodes", &admin).await != 401 {} }).await;
    assert_eq!(served.status("/nodes", &new).await, 200);
    assert_eq!(served.status("/functions", &client).await, 200, "that of the other role stays");
    assert_eq!(served.run(&["token", "--role", "node"]).await.code, Some(2));
    let Served { gateway, state: _state, .. } = served;
    signal(&gateway, "TERM");
    assert_eq!(finish(gateway).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_the_page_has_a_bearer_in_its_fragment() {
    let served = Served::start().await;
    let expected = format!("{}/#bearer=", served.page);
    let printed = served.run(&["open", &served.page, "--print"]).await;
    assert_eq!((printed.code, &*printed.err), (Some(0), ""), "{printed:?}");
    let bearer = printed.out.trim().strip_prefix(&expected).unwrap().to_owned();
    assert_eq!(served.status("/nodes", &bearer).await, 200);
    let document = served.run(&["open", &served.page, "--print", "--json"]).await.json();
    assert_eq!(document["address"], format!("{expected}{bearer}"));
    assert_eq!(document["opened"], false);
    let without = served.run(&["open", &served.page]).await;
    assert_eq!((without.code, without.out.trim()), (Some(0), printed.out.trim()));
    assert!(without.err.contains("there is no display"), "{}", without.err);
    for wrong in ["http://gw.example.com", "ftp://127.0.0.1", "http://127.0.0.1:1/?x", "gw:8080"] {
        let refused = served.run(&["open", wrong]).await;
        assert_eq!((refused.code, &*refused.out), (Some(2), ""), "{wrong}: {refused:?}");
    }
}

/// Where there is a display, the platform's own program is given the address, and nobody else.
#[tokio::test(flavor = "multi_thread")]
#[cfg(target_os = "linux")]
async fn a_browser_is_started_where_there_is_a_display() {
    let served = Served::start().await;
    let bin = tempfile::tempdir().unwrap();
    let told = bin.path().join("told");
    let opens = |script: &str| {
        write_program(&bin.path().join("xdg-open"), script);
        let mut command = served.command(&["open", &served.page]);
        command.env("DISPLAY", ":1").env("PATH", bin.path()).env("TOLD", &told);
        ended(command)
    };
    let opened = opens("#!/bin/sh\necho \"$1\" > \"$TOLD.new\"\n/bin/mv \"$TOLD.new\" \"$TOLD\"\n");
    let opened = opened.await;
    assert_eq!((opened.code, &*opened.err), (Some(0), ""), "{opened:?}");
    assert_eq!(opened.out.trim(), format!("opened {}/", served.page), "the bearer stays unsaid");
    common::until(|| told.exists()).await;
    let address = std::fs::read_to_string(&told).unwrap();
    assert!(address.starts_with(&format!("{}/#bearer=", served.page)), "{address}");
    std::fs::remove_file(bin.path().join("xdg-open")).unwrap();
    let mut command = served.command(&["open", &served.page]);
    command.env("DISPLAY", ":1").env("PATH", bin.path());
    let without = ended(command).await;
    assert_eq!(without.out.trim(), address.trim());
    assert!(without.err.contains("no browser"), "{}", without.err);
}

#[cfg(target_os = "linux")]
fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_serves_no_http_unless_asked_and_none_in_the_clear() {
    let state = tempfile::tempdir().unwrap();
    for words in [&["--http", "0.0.0.0:0"][..], &["--http-cert", "a.pem", "--http-key", "b.pem"]] {
        let mut command = tool();
        command.args(["gateway", "127.0.0.1:0", "--state-dir"]).arg(state.path()).args(words);
        let refused = ended(command).await;
        assert_eq!((refused.code, &*refused.out), (Some(2), ""), "{words:?}: {refused:?}");
    }
}
