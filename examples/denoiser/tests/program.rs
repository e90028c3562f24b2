//! The program as a person runs it: all in one process, with files, and its parts apart.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use easyremote::Role;
use easyremote::testing::World;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// The program, which ends with the test.
fn denoiser() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_denoiser"));
    command.kill_on_drop(true);
    command
}

/// Runs `command` to its end. Returns what it printed.
async fn printed(command: &mut Command) -> String {
    let output = timeout(Duration::from_secs(60), command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The samples of a file of one channel.
fn samples(path: &Path) -> Vec<f64> {
    let mut file = hound::WavReader::open(path).unwrap();
    file.samples::<i16>().map(|sample| f64::from(sample.unwrap())).collect()
}

fn power(samples: &[f64]) -> f64 {
    samples.iter().map(|sample| sample * sample).sum::<f64>() / samples.len() as f64
}

#[tokio::test]
async fn four_callers_are_compared_and_measured() {
    let output = printed(&mut denoiser()).await;
    assert_eq!(output.matches("real-time factor").count(), 2, "{output}");
    assert!(output.contains("p50") && output.contains("p99"), "{output}");
    assert!(output.ends_with("bit for bit\n"), "{output}");
}

#[tokio::test]
async fn a_file_becomes_the_same_here_and_on_another_node() {
    let directory = tempfile::tempdir().unwrap();
    let [noisy, here, there] =
        ["noisy.wav", "here.wav", "there.wav"].map(|name| directory.path().join(name));
    printed(denoiser().arg("make").arg(&noisy)).await;
    printed(denoiser().args([&noisy, &here])).await;

    let world = World::builder().serve().await.unwrap();
    let [node, client] = [Role::Node, Role::Client].map(|role| world.ticket(role).to_string());
    let mut node = denoiser().args(["node", &node]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let line = timeout(Duration::from_secs(60), lines.next_line()).await.unwrap().unwrap();
    assert!(line.as_ref().is_some_and(|line| line.ends_with("is registered")), "{line:?}");
    let output = printed(denoiser().args(["client", &client]).args([&noisy, &there])).await;
    assert!(output.contains("real-time factor") && output.contains("p99"), "{output}");

    let (noisy, here, there) = (samples(&noisy), samples(&here), samples(&there));
    assert_eq!(noisy.len(), here.len());
    assert!(here == there, "two nodes of one machine differ");
    // It begins with a pause of 150 ms; the network needs half of it to hear that.
    let pause = 3_600..7_000;
    assert!(power(&here[pause.clone()]) < 0.1 * power(&noisy[pause]), "the noise is still there");
}

#[tokio::test]
async fn what_is_not_understood_is_answered_with_the_usage() {
    for arguments in [&["node"][..], &["--help"], &["client", "127.0.0.1:1"], &["sound.mp3"]] {
        let output = denoiser().args(arguments).output().await.unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("denoiser client TICKET IN.wav"), "{arguments:?}: {said}");
    }
}
