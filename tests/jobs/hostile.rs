//! Peers that say nonsense about jobs.

use common::gate::{Gate, pass};
use common::hostile::attacker::Insider;
use common::hostile::wire::{self, BODY, ERROR, HEADER, UNARY, frame, string, varint};
use common::{World, soon, until};
use easyremote::client::JobState;
use easyremote::{Role, functions, remote};
use fastrand::Rng;

#[remote]
async fn wait(gate: u64) -> u64 {
    pass(gate).await;
    gate
}

/// A call header with further options.
fn header(function: &str, options: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut body = wire::call(function, UNARY)[5..].to_vec();
    for (tag, value) in options {
        body.extend(varint(*tag));
        body.extend(string(value));
    }
    frame(HEADER, &body)
}

/// What lists the jobs of all identities is the gateway's own request, and no caller's.
#[tokio::test]
async fn no_caller_lists_the_jobs_of_others() {
    let (world, node, client) = World::with(functions![wait]).await;
    let gate = Gate::closed();
    let job = soon(wait::call(&client, gate.key).spawn()).await.unwrap();
    let ticket = world.gateway.ticket(Role::Client).to_string();
    let insider = Insider::client(world.gateway.local_addr(), &ticket).await;
    for function in ["easyremote.jobs", "wait"] {
        let options = [(1, node.id().as_bytes().to_vec()), (19, vec![6])];
        let mut bytes = header(function, &options);
        bytes.extend(frame(BODY, b"[]"));
        let (mut send, mut recv) = insider.open(&bytes).await;
        let _ = send.finish();
        let (kind, body) = soon(wire::read(&mut recv)).await.unwrap();
        assert_eq!(kind, ERROR, "{function}: {body:?}");
    }
    gate.open();
    assert_eq!(soon(job.result()).await.unwrap(), gate.key);
}

/// Random values of option 19, most of them nearly right: each has one answer or none, and nobody
/// else is harmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_requests_have_one_answer_and_harm_nobody() {
    let (world, node, client) = World::with(functions![wait]).await;
    let gate = Gate::closed();
    let job = soon(wait::call(&client, gate.key).spawn()).await.unwrap();
    let seed = fastrand::u64(..);
    let mut rng = Rng::with_seed(seed);
    let ticket = world.gateway.ticket(Role::Client).to_string();
    let insider = Insider::client(world.gateway.local_addr(), &ticket).await;
    for round in 0..300 {
        let what = rng.u8(..8);
        let mut value = vec![what];
        value.extend((0..16).map(|_| rng.u8(..)));
        value.extend((0..rng.usize(..4)).map(|_| rng.u8(..)));
        value.truncate(rng.usize(..=value.len()));
        let function = ["wait", "easyremote.jobs", "easyremote.stats", "none"][rng.usize(..4)];
        let mut options = vec![(19, value)];
        if rng.bool() {
            options.push((1, node.id().as_bytes().to_vec()));
        }
        if rng.u8(..4) == 0 {
            options.push((19, vec![rng.u8(..6)]));
        }
        let mut bytes = header(function, &options);
        if rng.bool() {
            bytes.extend(frame(BODY, &[0; 9][..rng.usize(..9)]));
        }
        let (mut send, mut recv) = insider.open(&bytes).await;
        let _ = send.finish();
        let answer = soon(wire::read(&mut recv)).await;
        let kind = answer.as_ref().map(|(kind, _)| *kind);
        let allowed = [None, Some(BODY), Some(ERROR), Some(18), Some(19)];
        assert!(allowed.contains(&kind), "seed {seed}, round {round}: {answer:?}");
    }
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Running);
    drop(insider);
    gate.open();
    assert_eq!(soon(job.result()).await.unwrap(), gate.key);
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}
