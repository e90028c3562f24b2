//! What a job returns, whichever way it ends.

use std::time::Duration;

use common::gate::{Gate, pass, pass_blocking};
use common::{Probe, SayOnDrop, World, say, serving, soon, until};
use easyremote::client::{Job, JobId, JobState};
use easyremote::node::NodeLimits;
use easyremote::testing::Mock;
use easyremote::{CallError, Client, Context, ErrorKind, Executed, functions, remote};
use futures::future::join_all;
use futures::{Stream, StreamExt, stream};
use serde_json::json;

/// Reports progress, and waits in the middle.
#[remote]
async fn work(#[ctx] ctx: &Context, gate: u64, n: u64) -> u64 {
    ctx.progress(0.5, format!("half of {n}"));
    pass(gate).await;
    ctx.progress(7.0, "all\nof it");
    2 * n
}

/// The same on a thread.
#[remote]
fn grind(#[ctx] ctx: &Context, gate: u64, n: u64) -> u64 {
    ctx.progress(0.5, format!("half of {n}"));
    pass_blocking(gate);
    2 * n
}

#[remote]
fn divide(a: u64, b: u64) -> Result<u64, String> {
    a.checked_div(b).ok_or_else(|| "division by zero".to_owned())
}

#[remote(err = "display")]
fn refuse() -> Result<u64, String> {
    Err("not today".to_owned())
}

#[remote]
fn fall() -> u64 {
    panic!("no luck")
}

#[remote]
async fn wait_for_ever(key: u64) {
    let _guard = SayOnDrop(key, "dropped");
    say(key, "started");
    std::future::pending::<()>().await;
}

#[remote]
fn fill(length: usize) -> Vec<u8> {
    vec![7; length]
}

#[remote]
async fn sum(numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(0, |sum, n| async move { sum + n }).await
}

/// Runs calls that come together at once.
#[remote(batch(max = 3, wait = "20ms"))]
fn lengths(texts: Vec<String>) -> Vec<u64> {
    texts.iter().map(|text| text.len() as u64).collect()
}

/// Reports progress as a plain call.
#[remote]
fn plain(#[ctx] ctx: &Context) -> u64 {
    ctx.progress(0.5, "nobody asks");
    1
}

/// Waits until a job is in this state.
async fn is<F>(job: &Job<F>, state: JobState)
where
    Job<F>: Clone,
    F: easyremote::__private::RemoteUnary,
{
    soon(async { while job.status().await.unwrap().state != state {} }).await;
}

#[tokio::test]
async fn a_job_says_how_far_it_is_and_then_returns_its_result_as_often_as_it_is_asked() {
    let (_world, client) = serving(functions![work, grind]).await;
    let gate = Gate::closed();
    let job = soon(work::call(&client, gate.key, 21).spawn()).await.unwrap();
    let other = soon(grind::call(&client, gate.key, 21).spawn()).await.unwrap();
    is(&job, JobState::Running).await;
    is(&other, JobState::Running).await;
    let half = "half of 21".to_owned();
    for status in [job.status().await.unwrap(), other.status().await.unwrap()] {
        let progress = status.progress.unwrap();
        assert_eq!(
            (status.state, progress.fraction, progress.text),
            (JobState::Running, 0.5, half.clone())
        );
    }
    let mut waiting = Box::pin(job.result());
    assert!(futures::poll!(&mut waiting).is_pending());
    gate.open();
    assert_eq!(soon(waiting).await.unwrap(), 42);
    assert_eq!(soon(other.result()).await.unwrap(), 42);
    // By its id, by clones, at the same time.
    let id: JobId = job.id().to_string().parse().unwrap();
    assert_eq!((&id, id.function()), (job.id(), "work"));
    let handles: Vec<Job<work>> = (0..10).map(|_| client.job(&id)).collect();
    for result in soon(join_all(handles.iter().map(Job::result))).await {
        assert_eq!(result.unwrap(), 42);
    }
    let status = soon(job.status()).await.unwrap();
    let progress = status.progress.unwrap();
    assert_eq!(status.state, JobState::Succeeded);
    assert_eq!((progress.fraction, &*progress.text), (1.0, "all of it"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_ends_with_what_its_call_would_have_ended_with() {
    let (_world, client) = serving(functions![divide, refuse, fall, plain]).await;
    let job = soon(divide::call(&client, 6, 3).spawn()).await.unwrap();
    assert_eq!(soon(job.result()).await.unwrap(), 2);
    let job = soon(divide::call(&client, 6, 0).spawn()).await.unwrap();
    match soon(job.result()).await.unwrap_err() {
        CallError::Function(text) => assert_eq!(text, "division by zero"),
        CallError::Remote(error) => panic!("{error}"),
    }
    assert_eq!(soon(job.status()).await.unwrap().state, JobState::Failed);
    let job = soon(refuse::call(&client).spawn()).await.unwrap();
    let error = soon(job.result()).await.unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::Failed, "not today"));
    for _ in 0..2 {
        let job = soon(fall::call(&client).spawn()).await.unwrap();
        let error = soon(job.result()).await.unwrap_err();
        assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes));
        assert!(error.to_string().contains("no luck"), "{error}");
        assert_eq!(soon(job.status()).await.unwrap().state, JobState::Failed);
    }
    assert_eq!(soon(plain::call(&client)).await.unwrap(), 1);
}

#[tokio::test]
async fn a_job_by_name_returns_json_and_knows_the_difference() {
    let (_world, client) = serving(functions![divide, work]).await;
    let job = soon(client.call_json("divide", json!([6, 3])).spawn()).await.unwrap();
    assert_eq!(soon(job.result()).await.unwrap(), json!(2));
    let typed: Job<divide> = client.job(job.id());
    assert_eq!(soon(typed.status()).await.unwrap().state, JobState::Succeeded);
    let error = soon(typed.result()).await.unwrap_err();
    let CallError::Remote(error) = error else { panic!("{error}") };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::Maybe));

    let job = soon(divide::call(&client, 6, 0).spawn()).await.unwrap();
    let by_name = client.job_json(job.id());
    let ended = soon(async {
        loop {
            let state = by_name.status().await.unwrap().state;
            if !matches!(state, JobState::Waiting | JobState::Running) {
                break state;
            }
        }
    });
    assert_eq!(ended.await, JobState::Failed);
    let error = soon(by_name.result()).await.unwrap_err();
    assert!(matches!(error, CallError::Remote(error) if error.kind() == ErrorKind::InvalidInput));
    let wrong: Job<work> = client.job(job.id());
    let error = soon(wrong.status()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::Maybe));
    let job = soon(client.call_json("divide", json!([6, 0])).spawn()).await.unwrap();
    assert!(matches!(soon(job.result()).await, Err(CallError::Function(_))));
}

#[tokio::test]
async fn a_cancelled_job_stops_and_says_so() {
    let (world, node, client) = World::with(functions![wait_for_ever]).await;
    let mut probe = Probe::new();
    let job = soon(wait_for_ever::call(&client, probe.key).spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    let waiting = tokio::spawn({
        let job = job.clone();
        async move { job.result().await }
    });
    soon(job.cancel()).await.unwrap();
    assert_eq!(probe.next().await, "dropped");
    let error = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::Cancelled, Executed::Maybe),
        "{error}"
    );
    soon(job.cancel()).await.unwrap();
    until(|| node.stats().in_flight == 0 && world.gateway.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_job_that_waits_for_a_place_never_starts_once_it_is_cancelled() {
    let world = World::start().await;
    // A function that runs on the node without its place: the gateway sends one call more.
    let node = world.node_builder().limits(NodeLimits::new().blocking_threads(1));
    let node = soon(node.functions(functions![grind]).serve()).await.unwrap();
    let client = world.client().await;
    let gate = Gate::closed();
    let first = soon(grind::call(&client, gate.key, 1).spawn()).await.unwrap();
    let second = soon(grind::call(&client, gate.key, 2).spawn()).await.unwrap();
    is(&first, JobState::Running).await;
    is(&second, JobState::Waiting).await;
    soon(second.cancel()).await.unwrap();
    let error = soon(second.result()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Cancelled, Executed::No), "{error}");
    // A thread cannot be stopped: the job runs until its function returns.
    soon(first.cancel()).await.unwrap();
    assert_eq!(soon(first.status()).await.unwrap().state, JobState::Running);
    gate.open();
    let error = soon(first.result()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.executed()),
        (ErrorKind::Cancelled, Executed::Maybe),
        "{error}"
    );
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_deadline_limits_the_whole_job() {
    let (_world, client) = serving(functions![wait_for_ever]).await;
    let mut probe = Probe::new();
    let call = wait_for_ever::call(&client, probe.key).timeout(Duration::from_millis(500));
    let job = soon(call.spawn()).await.unwrap();
    assert_eq!(probe.next().await, "started");
    assert_eq!(probe.next().await, "dropped");
    let error = soon(job.result()).await.unwrap_err();
    let executed = error.executed();
    assert_eq!((error.kind(), executed), (ErrorKind::DeadlineExceeded, Executed::Maybe), "{error}");
    let late = wait_for_ever::call(&client, probe.key).timeout(Duration::ZERO);
    let error = soon(late.spawn()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::No));
}

#[tokio::test]
async fn what_is_kept_has_a_limit() {
    let world = World::start().await;
    // A quarter for each identity: 64 KiB, of which each job takes 4 KiB beside its result.
    let node = world.node_builder().limits(NodeLimits::new().kept(256 << 10));
    let _node = soon(node.functions(functions![fill]).serve()).await.unwrap();
    let client = world.client().await;
    let job = soon(fill::call(&client, 70_000).spawn()).await.unwrap();
    let error = soon(job.result()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::TooLarge, Executed::Yes), "{error}");
    let job = soon(fill::call(&client, 20_000).spawn()).await.unwrap();
    assert_eq!(soon(job.result()).await.unwrap().len(), 20_000);
    let mut accepted = 0;
    let error = loop {
        match soon(fill::call(&client, 1).spawn()).await {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Overloaded, Executed::No), "{error}");
    assert!((5..16).contains(&accepted), "{accepted}");
}

#[tokio::test]
async fn what_cannot_run_without_its_caller_is_refused() {
    let (_world, client) = serving(functions![sum, plain]).await;
    let error = soon(sum::call(&client, stream::iter([1, 2])).spawn()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::No));
    let mut call = plain::call(&client);
    let _ = futures::poll!(&mut call);
    let error = soon(call.spawn()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::InvalidInput, Executed::Maybe));
}

#[tokio::test]
async fn calls_of_a_batch_are_jobs_and_have_keys_too() {
    let (_world, node, client) = World::with(functions![lengths]).await;
    let jobs = ["a", "bb", "ccc"].map(|text| lengths::call(&client, text.to_owned()).spawn());
    for (job, length) in soon(join_all(jobs)).await.into_iter().zip(1..) {
        assert_eq!(soon(job.unwrap().result()).await.unwrap(), length);
    }
    let calls = ["a", "a", "bb"].map(|text| lengths::call(&client, text.to_owned()).key(text));
    let lengths: Vec<_> = soon(join_all(calls)).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(lengths, [1, 1, 2]);
    until(|| node.stats().in_flight == 0).await;
}

#[tokio::test]
async fn a_mock_answers_jobs_too() {
    let mock = Mock::builder()
        .expect::<divide>((6, 3), Ok(2))
        .expect::<divide>((6, 0), Err(CallError::Function("no".to_owned())))
        .serve();
    let mock = soon(mock).await.unwrap();
    let job = soon(divide::call(mock.client(), 6, 3).spawn()).await.unwrap();
    assert_eq!(soon(job.result()).await.unwrap(), 2);
    let job = soon(divide::call(mock.client(), 6, 0).key("k").spawn()).await.unwrap();
    assert!(matches!(soon(job.result()).await, Err(CallError::Function(text)) if text == "no"));
    mock.verify();
}

/// Long results arrive like those of calls, on each kind of stream.
#[tokio::test]
async fn results_of_any_length_arrive() {
    let world = World::start().await;
    let _node = world.node(functions![fill]).await;
    for multiplex in [true, false] {
        let client: Client =
            soon(world.client_builder().multiplex(multiplex).connect()).await.unwrap();
        for length in [0, 1, 16_000, 17_000, 300_000, 3_000_000] {
            let job = soon(fill::call(&client, length).spawn()).await.unwrap();
            assert_eq!(soon(job.result()).await.unwrap(), vec![7; length], "{length}");
        }
    }
}
