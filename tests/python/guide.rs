//! What `docs/other-languages.md` shows for a shell and for Python.

use std::process::Stdio;

use easyremote::http::HttpOptions;
use easyremote::node::Functions;
use easyremote::{functions, remote};
use futures::{Stream, StreamExt};
use tokio::process::Command;

use crate::{Site, directory, python};

const PAGE: &str = include_str!("../../docs/other-languages.md");

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote]
fn divide(a: f64, b: f64) -> Result<f64, String> {
    if b == 0.0 { Err("division by zero".to_owned()) } else { Ok(a / b) }
}

#[remote(stream)]
fn count(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[remote]
async fn sum(numbers: impl Stream<Item = i64>) -> i64 {
    numbers.fold(0, async |sum, n| sum + n).await
}

fn shown() -> Functions {
    functions![add, count, divide, sum]
}

/// Returns the blocks of the page in a language, one after the other.
fn blocks(language: &str) -> String {
    let opening = format!("```{language}\n");
    let blocks = PAGE.split(&opening).skip(1).filter_map(|block| block.split("```").next());
    blocks.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_guide_is_true() {
    let site = Site::start(HttpOptions::new("127.0.0.1:0"), shown).await;
    let mut program = python();
    program.args(["-c", &blocks("python")]).current_dir(directory()).stdout(Stdio::piped());
    let program = site.known_to(&mut program).spawn().unwrap();
    let output = common::soon(program.wait_with_output()).await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let own = "the function's own error: division by zero";
    let expected = ["3", "3", "3", "4", "14", own, "[0, 2, 4]", "0", "1", "2"];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    let mut curl = Command::new("curl");
    if curl.arg("--version").stdout(Stdio::null()).status().await.is_err() {
        println!("skipped: there is no curl");
        return;
    }
    let mut shell = Command::new("sh");
    shell.args(["-ec", &blocks("sh")]).kill_on_drop(true).stdout(Stdio::piped());
    let shell = site.known_to(&mut shell).spawn().unwrap();
    let output = common::soon(shell.wait_with_output()).await.unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let problem = blocks("json");
    let stream = "{\"item\":3}\n{\"item\":4}\n{\"end\":{\"items\":2}}\n";
    assert_eq!(printed, format!("33{stream}6{}", problem.trim()));
}
