//! `easyremote stream`: items as lines, operators in their order, errors of items, pipes, signals.

use std::time::Duration;

use common::{Probe, SayOnDrop, soon};
use easyremote::{functions, remote};
use futures::{Stream, stream};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::tool::{Rig, finish, signal};

#[remote(stream)]
fn count(from: u64, to: u64) -> impl Iterator<Item = u64> {
    from..to
}

#[remote(stream)]
fn halves(n: i64) -> impl Iterator<Item = Result<i64, String>> {
    (0..n).map(|n| if n % 2 == 0 { Ok(n / 2) } else { Err(format!("{n} is odd")) })
}

#[remote(stream)]
async fn opened(fine: bool) -> Result<impl Stream<Item = u64>, String> {
    if fine { Ok(stream::iter([1, 2])) } else { Err("not today".to_owned()) }
}

/// Endless; says when it is dropped.
#[remote(stream)]
fn ticks(key: u64) -> impl Stream<Item = u64> {
    let probe = SayOnDrop(key, "dropped");
    stream::unfold((0, probe), |(n, probe)| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((n, (n + 1, probe)))
    })
}

async fn rig() -> Rig {
    Rig::with(functions![count, halves, opened, ticks]).await
}

fn numbers(items: &[Value]) -> Vec<u64> {
    items.iter().map(|item| item.as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn items_are_lines_and_operators_act_in_their_order() {
    let rig = rig().await;
    for (words, items) in [
        (&[][..], json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])),
        (&["--take", "3"], json!([0, 1, 2])),
        (&["--skip", "8"], json!([8, 9])),
        (&["--skip", "1", "--take", "3"], json!([1, 2, 3])),
        (&["--take", "3", "--skip", "1"], json!([1, 2])),
        (&["--every", "4"], json!([0, 4, 8])),
        (&["--every", "2", "--skip", "1", "--every", "3"], json!([2, 8])),
        (&["--dedup", "--batches", "4,10s"], json!([[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]])),
        (&["--take", "2", "--batches", "4,10s"], json!([[0, 1]])),
        (&["--resumable", "--buffer", "0", "--take", "2"], json!([0, 1])),
        (&["--json", "--timeout", "1m", "--take", "1"], json!([0])),
    ] {
        let words: Vec<_> = ["stream", "count", "0", "10"].iter().chain(words).copied().collect();
        let ended = rig.run(&words).await;
        assert_eq!(
            (ended.code, json!(ended.items()), &*ended.err),
            (Some(0), items, ""),
            "{words:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_of_time_pass_what_is_new() {
    let rig = rig().await;
    for operator in [&["--sample", "1ms"][..], &["--latest"]] {
        let words: Vec<_> =
            ["stream", "count", "0", "1000"].iter().chain(operator).copied().collect();
        let ended = rig.run(&words).await;
        let items = numbers(&ended.items());
        assert!(items.is_sorted() && items.last() == Some(&999), "{operator:?} {items:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_stream_arrives_whole() {
    let rig = rig().await;
    let ended = rig.run(&["stream", "count", "0", "20000"]).await;
    assert_eq!(numbers(&ended.items()), (0..20_000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_an_item_is_told_and_the_stream_goes_on() {
    let rig = rig().await;
    let ended = rig.run(&["--json", "stream", "halves", "5"]).await;
    assert_eq!((ended.code, json!(ended.items())), (Some(1), json!([0, 1, 2])));
    let errors: Vec<Value> =
        ended.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let texts: Vec<_> = errors.iter().map(|error| error["error"].as_str().unwrap()).collect();
    assert_eq!(texts, ["1 is odd", "3 is odd"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_up_that_fails_ends_the_stream() {
    let rig = rig().await;
    let fine = rig.run(&["stream", "opened", "true"]).await;
    assert_eq!((fine.code, &*fine.out), (Some(0), "1\n2\n"));
    let ended = rig.run(&["--json", "stream", "opened", "false"]).await;
    assert_eq!((ended.code, &*ended.out), (Some(1), ""));
    assert_eq!(ended.error()["error"], json!("not today"));
    let none = rig.run(&["--json", "stream", "nothing"]).await;
    assert_eq!((none.code, &none.error()["kind"]), (Some(5), &json!("NoSuchFunction")));
    let zero = rig.run(&["--json", "stream", "count", "0", "9", "--every", "0"]).await;
    assert_eq!((zero.code, &zero.error()["kind"]), (Some(2), &json!("InvalidInput")));
}

#[tokio::test(flavor = "multi_thread")]
async fn items_come_as_they_are_made_and_a_reader_that_leaves_ends_the_stream() {
    let rig = rig().await;
    let mut probe = Probe::new();
    let mut child = rig.command(&["stream", "ticks", &probe.key.to_string()]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for n in 0..3 {
        assert_eq!(soon(lines.next_line()).await.unwrap(), Some(n.to_string()));
    }
    drop(lines);
    let ended = finish(child).await;
    assert_eq!((ended.code, &*ended.err), (Some(0), ""));
    assert_eq!(probe.next().await, "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_stream_at_its_node_also_while_nobody_reads() {
    let rig = rig().await;
    for (name, code, reads) in [("INT", 130, true), ("TERM", 143, true), ("INT", 130, false)] {
        let mut probe = Probe::new();
        let mut child = rig.command(&["stream", "ticks", &probe.key.to_string()]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        soon(lines.next_line()).await.unwrap();
        if reads {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        } else {
            child.stdout = Some(lines.into_inner().into_inner());
        }
        signal(&child, name);
        let status = soon(child.wait()).await.unwrap();
        assert_eq!(status.code(), Some(code), "{name}");
        assert_eq!(probe.next().await, "dropped");
    }
}
