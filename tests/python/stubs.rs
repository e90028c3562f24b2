//! `easyremote gen python`: what it writes is `functions.py` beside this file, word for word, which
//! `stubs.py` uses to call each function, and mypy checks.

use std::path::{Path, PathBuf};

use common::soon;
use common::tool::binary;
use easyremote::http::HttpOptions;
use easyremote::{Client, Role};
use tokio::process::Command;

use crate::{Site, directory, finish, python, zoo};

#[tokio::test(flavor = "multi_thread")]
async fn stubs_call_each_function() {
    let site = Site::start(HttpOptions::new("127.0.0.1:0"), zoo::all).await;
    let client = soon(Client::connect(site.gateway.ticket(Role::Client))).await.unwrap();
    let functions = soon(client.functions()).await.unwrap();
    let files = tempfile::tempdir().unwrap();
    let (schemas, written) = (files.path().join("schemas.json"), files.path().join("out.py"));
    std::fs::write(&schemas, serde_json::to_string(&functions).unwrap()).unwrap();
    let mut tool = Command::new(binary("cli"));
    tool.args(["gen", "python", "--schemas"]).arg(&schemas).arg("--out").arg(&written);
    finish(tool.kill_on_drop(true)).await;
    let written = std::fs::read_to_string(&written).unwrap();
    if std::env::var_os("STUBS").is_some_and(|value| value == "overwrite") {
        std::fs::write(here("functions.py"), &written).unwrap();
    }
    let expected = std::fs::read_to_string(here("functions.py")).unwrap();
    assert_eq!(written, expected, "see what has changed, and set STUBS=overwrite");
    let path = std::env::join_paths([here(""), directory()]).unwrap();
    let mut python = python();
    python.arg(here("stubs.py")).env("PYTHONPATH", path);
    finish(site.known_to(&mut python)).await;
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python").join(file)
}
