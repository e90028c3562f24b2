//! The test kit's mocks do what they say.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use common::{Probe, SayOnDrop, say, soon, until};
use easyremote::client::JsonError;
use easyremote::error::StreamError;
use easyremote::testing::{self, Mock, MockBuilder};
use easyremote::{CallError, Error, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Mocks must not run bodies.
fn not_here<T>() -> T {
    panic!("the body has run");
}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    let _ = (a, b);
    not_here()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum MathError {
    DivByZero,
}

#[remote]
async fn divide(_a: f64, _b: f64) -> Result<f64, MathError> {
    not_here()
}

/// Neither `Clone`, `Debug` nor `PartialEq`.
#[derive(Serialize, Deserialize)]
struct Bare(String);

#[remote]
fn bare(_bare: Bare) -> Bare {
    not_here()
}

#[remote]
async fn greet(_name: String) -> String {
    not_here()
}

#[remote(stream)]
fn count(_to: u64) -> impl Iterator<Item = u64> {
    not_here::<std::iter::Empty<_>>()
}

#[remote(stream)]
fn checked(_n: u64) -> impl Stream<Item = Result<u64, String>> {
    not_here::<stream::Empty<_>>()
}

#[remote(stream)]
async fn rows(_id: u64) -> Result<impl Stream<Item = u64>, MathError> {
    not_here::<Result<stream::Empty<_>, _>>()
}

#[remote(stream)]
async fn tail(_id: u64) -> Result<impl Stream<Item = Result<u64, String>>, MathError> {
    not_here::<Result<stream::Empty<_>, _>>()
}

#[remote]
async fn total(_start: u64, _numbers: impl Stream<Item = u64>) -> Result<u64, String> {
    not_here()
}

#[remote(stream)]
fn double(_numbers: impl Stream<Item = u64>) -> impl Stream<Item = u64> {
    not_here::<stream::Empty<_>>()
}

/// What `verify` panics with.
fn complaint(mock: &Mock) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| mock.verify())).unwrap_err();
    *panic.downcast::<String>().unwrap()
}

fn remote_error<E: std::fmt::Debug>(error: CallError<E>) -> Error {
    match error {
        CallError::Remote(error) => error,
        CallError::Function(error) => panic!("the function's own error: {error:?}"),
    }
}

async fn serve(mock: MockBuilder) -> Mock {
    soon(mock.serve()).await.unwrap()
}

fn refused() -> Error {
    testing::error(ErrorKind::PermissionDenied, Executed::No, "not you")
}

#[tokio::test]
async fn closures_answer_without_the_body() {
    let mock = serve(
        Mock::builder()
            .on::<add>(|(a, b)| Ok(a + b))
            .on::<divide>(|(a, b)| {
                if b == 0.0 { Err(CallError::Function(MathError::DivByZero)) } else { Ok(a / b) }
            })
            .on_async::<greet>(|(name,)| async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(format!("hello {name}"))
            }),
    )
    .await;
    let client = mock.client();
    assert_eq!(soon(add::call(client, 1, 2)).await.unwrap(), 3);
    assert_eq!(soon(divide::call(client, 1.0, 2.0)).await.unwrap(), 0.5);
    let error = soon(divide::call(client, 1.0, 0.0)).await.unwrap_err();
    assert_eq!(error.function(), Some(&MathError::DivByZero));
    assert_eq!(soon(greet::call(client, "you".into())).await.unwrap(), "hello you");
    assert_eq!(mock.calls::<add>(), [(1, 2)]);
    assert_eq!(mock.calls::<divide>(), [(1.0, 2.0), (1.0, 0.0)]);
    mock.verify();
}

#[tokio::test]
async fn nothing_is_asked_of_arguments_and_results() {
    let mock = serve(Mock::builder().on::<bare>(|(bare,)| Ok(bare))).await;
    let Bare(text) = soon(bare::call(mock.client(), Bare("x".into()))).await.unwrap();
    assert_eq!(text, "x");
    assert!(matches!(&mock.calls::<bare>()[..], [(Bare(text),)] if text == "x"));
}

#[tokio::test]
async fn expectations_are_for_their_arguments_and_come_before_closures() {
    let mock = serve(
        Mock::builder()
            .on::<add>(|(a, b)| Ok(a + b))
            .times(1)
            .expect::<add>((1, 1), Ok(100))
            .times(2)
            .expect::<divide>((1.0, 0.0), Err(CallError::Function(MathError::DivByZero))),
    )
    .await;
    let client = mock.client();
    assert_eq!(soon(add::call(client, 1, 1)).await.unwrap(), 100);
    assert_eq!(soon(add::call(client, 1, 2)).await.unwrap(), 3);
    assert_eq!(soon(add::call(client, 1, 1)).await.unwrap(), 100);
    let error = soon(divide::call(client, 1.0, 0.0)).await.unwrap_err();
    assert_eq!(error.function(), Some(&MathError::DivByZero));
    mock.verify();
}

#[tokio::test]
async fn several_answers_of_a_function_are_given_in_their_order() {
    let mock = serve(
        Mock::builder()
            .on::<greet>(|_| Err(refused()))
            .times(2)
            .expect::<greet>(("a".into(),), Ok("first".into()))
            .expect::<greet>(("a".into(),), Ok("second".into()))
            .on::<greet>(|(name,)| Ok(name)),
    )
    .await;
    let mut answers = Vec::new();
    for name in ["a", "b", "a", "a", "b"] {
        let answer = soon(greet::call(mock.client(), name.into())).await;
        answers.push(answer.unwrap_or_else(|error| error.to_string()));
    }
    assert_eq!(answers, ["first", "not you", "second", "not you", "b"]);
    mock.verify();
}

#[tokio::test]
async fn verify_lists_what_was_not_called() {
    let mock = serve(
        Mock::builder()
            .on::<add>(|(a, b)| Ok(a + b))
            .times(3)
            .expect::<greet>(("you".into(),), Ok(String::new()))
            .expect::<divide>((1.0, 0.5), Ok(2.0))
            .times(2),
    )
    .await;
    soon(add::call(mock.client(), 1, 2)).await.unwrap();
    soon(divide::call(mock.client(), 1.0, 0.5)).await.unwrap();
    let expected = "the mock was not called as expected:\n\
                    - `add(..)`: expected 3 calls, got 1\n\
                    - `divide(1.0, 0.5)`: expected 2 calls, got 1\n\
                    - `greet(\"you\")`: expected 1 call, got 0";
    assert_eq!(complaint(&mock), expected);
    assert_eq!(complaint(&mock), expected);
}

#[tokio::test]
async fn unexpected_calls_fail_and_are_reported() {
    let mock = serve(
        Mock::builder()
            .id("gpu-1")
            .on::<add>(|(a, b)| Ok(a + b))
            .times(0)
            .expect::<divide>((1.0, 0.5), Ok(2.0))
            .expect_stream::<count>((3,), [Ok(0)])
            .times(0),
    )
    .await;
    let client = mock.client();
    soon(divide::call(client, 1.0, 0.5)).await.unwrap();
    for _ in 0..2 {
        let error = remote_error(soon(divide::call(client, 1.0, 0.5)).await.unwrap_err());
        assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
        assert_eq!(error.node(), Some("gpu-1"));
        let text = "unexpected call of `divide(1.0, 0.5)`; the mock expects \
                    `divide(1.0, 0.5)` (1 call)";
        assert_eq!(error.to_string(), text);
    }
    let error = soon(add::call(client, 1, 2)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unexpected call of `add(..)`; the mock expects `add(..)` (0 calls)"
    );
    let error = soon(count::call(client, 4).next()).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::BadArguments, Executed::No));
    let expected = "the mock was not called as expected:\n\
                    - `add(..)`: unexpected call\n\
                    - `count(4)`: unexpected call\n\
                    - `divide(1.0, 0.5)`: unexpected call\n\
                    - `divide(1.0, 0.5)`: unexpected call";
    assert_eq!(complaint(&mock), expected);
    assert_eq!(mock.calls::<divide>().len(), 3);
    assert_eq!(mock.calls::<count>(), [(4,)]);
}

#[tokio::test]
async fn calls_of_what_is_not_mocked_are_reported_too() {
    let mock = serve(Mock::builder().on::<add>(|_| Ok(0))).await;
    let error = soon(greet::call(mock.client(), "you".into())).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NoSuchFunction, Executed::No));
    let elsewhere = add::call(mock.client(), 1, 2).tag("gpu");
    assert_eq!(soon(elsewhere).await.unwrap_err().kind(), ErrorKind::NoNode);
    // In the order of the calls; asking for what there is is no call.
    soon(mock.client().functions()).await.unwrap();
    let text = complaint(&mock);
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert!(lines[0].starts_with("- `greet(..)`: refused call: no node offers `greet`"), "{text}");
    assert!(
        lines[1].starts_with("- `add(..)`: refused call: `add` is offered by `mock`"),
        "{text}"
    );
    assert_eq!(lines.len(), 2);
    assert_eq!(complaint(&mock), text);

    let nothing = serve(Mock::builder()).await;
    nothing.verify();
    soon(add::call(nothing.client(), 1, 2)).await.unwrap_err();
    assert!(complaint(&nothing).contains("no node is connected"));
}

#[tokio::test]
async fn errors_of_the_library_arrive_as_they_were_made() {
    let wait = Duration::from_millis(250);
    let mock = serve(
        Mock::builder()
            .id("gpu-1")
            .on::<add>(move |_| Err(testing::retry_after(refused(), wait)))
            .on::<divide>(|_| {
            let error = testing::error(ErrorKind::NodeLost, Executed::Maybe, "lost");
            Err(testing::of_node(error, "gpu-2").into())
        }),
    )
    .await;
    let error = soon(add::call(mock.client(), 1, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::No));
    assert_eq!((error.node(), error.retry_after()), (Some("gpu-1"), Some(wait)));
    assert_eq!(error.to_string(), "not you");
    let error = remote_error(soon(divide::call(mock.client(), 1.0, 0.0)).await.unwrap_err());
    assert_eq!((error.kind(), error.executed()), (ErrorKind::NodeLost, Executed::Maybe));
    assert_eq!((error.node(), error.to_string().as_str()), (Some("gpu-2"), "lost"));
    mock.verify();
}

#[tokio::test]
async fn streams_give_items_failed_items_and_their_end() {
    let mock = serve(
        Mock::builder()
            .stream::<count>(|(to,)| (0..to).map(Ok).collect())
            .expect_stream::<checked>(
                (1,),
                [Ok(1), Err(CallError::Function("two".into())), Ok(3), Err(refused().into())],
            )
            .times(2),
    )
    .await;
    for n in [0, 5, 10_000] {
        let items: Vec<u64> = soon(count::call(mock.client(), n).try_collect()).await.unwrap();
        assert!(items.into_iter().eq(0..n));
    }
    for _ in 0..2 {
        let items: Vec<_> = soon(checked::call(mock.client(), 1).collect()).await;
        let [Ok(1), Err(CallError::Function(two)), Ok(3), Err(CallError::Remote(error))] =
            &items[..]
        else {
            panic!("{items:?}");
        };
        assert_eq!(two, "two");
        // A stream that was open has run.
        assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::Yes));
        assert_eq!(error.delivered(), 3);
    }
    mock.verify();
}

#[tokio::test]
async fn operators_act_on_mocked_streams() {
    let mock = serve(
        Mock::builder()
            .stream::<count>(|(to,)| (0..to).map(Ok).collect())
            .stream::<checked>(|_| vec![Ok(1), Ok(1), Err(CallError::Function("two".into()))])
            .stream_async::<rows>(|_| async { stream::iter((0..).map(Ok)) }),
    )
    .await;
    let long = Duration::from_secs(3_600);
    let lists = count::call(mock.client(), 9).every(2).skip(1).batches(3, long).try_collect();
    let lists: Vec<Vec<u64>> = soon(lists).await.unwrap();
    assert_eq!(lists, [vec![2, 4, 6], vec![8]]);
    let none = count::call(mock.client(), 0).dedup().count();
    assert_eq!(soon(none).await, 0);
    let items: Vec<_> = soon(checked::call(mock.client(), 1).dedup().buffer(0).collect()).await;
    assert!(matches!(&items[..], [Ok(1), Err(CallError::Function(_))]), "{items:?}");
    let rows = soon(rows::call(mock.client(), 1).skip(3).take(2).open()).await.unwrap();
    assert_eq!(soon(rows.try_collect::<Vec<u64>>()).await.unwrap(), [3, 4]);
}

#[remote(operator)]
fn multiple(n: &u64, of: u64) -> bool {
    n.is_multiple_of(of)
}

#[remote(operator)]
fn quotient(n: u64, by: u64) -> Option<f64> {
    (by > 0).then(|| n as f64 / by as f64)
}

#[remote(operator)]
fn inverse(x: f64) -> f64 {
    1.0 / x
}

/// JSON has no infinity, which comes before it.
#[remote(operator)]
fn finite(x: &f64) -> bool {
    x.is_finite()
}

#[remote(operator)]
fn mean(list: Vec<f64>) -> f64 {
    list.iter().sum::<f64>() / list.len() as f64
}

#[tokio::test]
async fn functions_are_operators_of_mocked_streams() {
    let mock = Mock::builder().operators(functions![multiple, quotient, mean, inverse, finite]);
    let mock = mock.stream::<count>(|(to,)| (0..to).map(Ok).collect());
    let mock =
        serve(mock.stream::<checked>(|_| vec![Ok(1), Err(CallError::Function("two".into()))]))
            .await;
    let long = Duration::from_secs(3_600);
    let call = || count::call(mock.client(), 9).through(multiple::with(2));
    assert_eq!(soon(call().try_collect::<Vec<_>>()).await.unwrap(), [0, 2, 4, 6, 8]);
    let means = call().dedup().through(quotient::with(4)).batches(3, long).through(mean::with());
    assert_eq!(soon(means.try_collect::<Vec<_>>()).await.unwrap(), [0.5, 1.75]);
    let items = checked::call(mock.client(), 1).through(multiple::with(2)).skip(0);
    let items: Vec<_> = soon(items.collect()).await;
    assert!(matches!(&items[..], [Err(CallError::Function(_))]), "{items:?}");
    let json = mock.client().stream_json("count", json!([9]));
    let json = json.through("multiple", json!([4])).through("quotient", json!([8]));
    assert_eq!(soon(json.try_collect::<Vec<_>>()).await.unwrap(), [0.0, 0.5, 1.0]);
    let json = mock.client().stream_json("count", json!([3])).through("quotient", json!([1]));
    let json = json.through("inverse", json!([])).through("finite", json!([]));
    assert_eq!(soon(json.try_collect::<Vec<_>>()).await.unwrap(), [1.0, 0.5]);
    let wrong = mock.client().stream_json("count", json!([9])).through("multiple", json!(["x"]));
    let Err(CallError::Remote(wrong)) = soon(wrong.try_collect::<Vec<_>>()).await else {
        panic!("it was called");
    };
    assert_eq!((wrong.kind(), wrong.executed()), (ErrorKind::BadArguments, Executed::No));
}

#[tokio::test]
async fn a_first_item_may_take_the_place_of_the_stream() {
    let setup = || StreamError::Setup(MathError::DivByZero);
    let mock = serve(
        Mock::builder()
            .stream::<count>(|_| vec![Err(refused())])
            .stream::<rows>(|_| vec![Err(CallError::Function(MathError::DivByZero))])
            .stream_async::<tail>(move |(id,)| async move {
                stream::iter(match id {
                    0 => vec![Err(CallError::Function(setup()))],
                    1 => vec![Ok(1), Err(CallError::Function(StreamError::Item("one".into())))],
                    _ => vec![Ok(1), Err(CallError::Function(setup()))],
                })
            }),
    )
    .await;
    let client = mock.client();
    let error = soon(count::call(client, 1).open()).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::PermissionDenied, Executed::No));
    let error = soon(rows::call(client, 1).open()).await.unwrap_err();
    assert_eq!(error.function(), Some(&MathError::DivByZero));
    let error = soon(tail::call(client, 0).next()).await.unwrap().unwrap_err();
    assert_eq!(error.function(), Some(&setup()));
    let opened = soon(tail::call(client, 1).open()).await.unwrap();
    let items: Vec<_> = soon(opened.collect()).await;
    assert!(
        matches!(&items[..], [Ok(1), Err(CallError::Function(text))] if text == "one"),
        "{items:?}"
    );
    let items: Vec<_> = soon(tail::call(client, 2).collect()).await;
    let error = remote_error(items.into_iter().nth(1).unwrap().unwrap_err());
    assert_eq!((error.kind(), error.delivered()), (ErrorKind::Panicked, 1));
    assert!(error.to_string().contains("can only be the first item"), "{error}");
}

#[tokio::test]
async fn a_stream_is_open_before_an_item_that_takes_its_time() {
    let (give, given) = futures::channel::mpsc::unbounded();
    let given = std::sync::Mutex::new(Some(given));
    let mock = serve(Mock::builder().stream_async::<rows>(move |_| {
        let given = given.lock().unwrap().take().unwrap();
        async move { given.map(Ok) }
    }))
    .await;
    let mut rows = soon(rows::call(mock.client(), 1).open()).await.unwrap();
    for item in 0..3 {
        give.unbounded_send(item).unwrap();
        assert_eq!(soon(rows.next()).await.unwrap().unwrap(), item);
    }
    drop(rows);
    // Dropping the caller's stream drops the mock's.
    until(|| give.is_closed()).await;
}

#[tokio::test]
async fn streams_from_the_caller_are_read_by_the_closure() {
    let mock = serve(
        Mock::builder()
            .upload::<total>(|(start,), numbers| async move {
                let numbers: Vec<u64> = numbers.collect().await;
                if numbers.is_empty() {
                    return Err(CallError::Function("nothing".into()));
                }
                Ok(start + numbers.iter().sum::<u64>())
            })
            .duplex::<double>(|(), numbers| async move { numbers.map(|n| Ok(2 * n)) }),
    )
    .await;
    let client = mock.client();
    assert_eq!(soon(total::call(client, 10, stream::iter([1, 2, 3]))).await.unwrap(), 16);
    let error = soon(total::call(client, 10, stream::iter([]))).await.unwrap_err();
    assert_eq!(error.function().unwrap(), "nothing");
    let (ask, asked) = futures::channel::mpsc::unbounded();
    let mut doubled = double::call(client, asked);
    for number in 0..10 {
        ask.unbounded_send(number).unwrap();
        assert_eq!(soon(doubled.next()).await.unwrap().unwrap(), 2 * number);
    }
    assert_eq!(mock.calls::<total>(), [(10,), (10,)]);
}

#[tokio::test]
async fn an_answer_need_not_wait_for_the_callers_stream() {
    let mock =
        serve(Mock::builder().expect::<total>((1,), Ok(5)).stream::<double>(|()| vec![Ok(7)]))
            .await;
    assert_eq!(soon(total::call(mock.client(), 1, stream::iter(0..))).await.unwrap(), 5);
    let doubled = double::call(mock.client(), stream::pending());
    assert_eq!(soon(doubled.try_collect::<Vec<_>>()).await.unwrap(), [7]);
    mock.verify();
}

#[tokio::test]
async fn a_hanging_call_ends_with_its_time_or_its_caller() {
    let mut probe = Probe::new();
    let key = probe.key;
    let mock = serve(Mock::builder().hang::<add>().hang::<count>().on_async::<greet>(
        move |_| async move {
            let _guard = SayOnDrop(key, "dropped");
            say(key, "started");
            std::future::pending().await
        },
    ))
    .await;
    let client = mock.client();
    // Long enough to get there on a slow machine.
    let short = Duration::from_secs(2);
    let error = soon(add::call(client, 1, 2).timeout(short)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::DeadlineExceeded, Executed::Maybe));
    let error = soon(count::call(client, 1).timeout(short).next()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let call = tokio::spawn(greet::call(client, "you".into()));
    soon(mock.called::<greet>(1)).await;
    assert_eq!(mock.calls::<greet>(), [("you".to_owned(),)]);
    assert_eq!(probe.next().await, "started");
    call.abort();
    assert_eq!(probe.next().await, "dropped");
    mock.verify();
}

#[tokio::test]
async fn calls_by_name_are_answered_and_recorded() {
    let mock = serve(
        Mock::builder()
            .on::<add>(|(a, b)| Ok(a + b))
            .expect::<divide>((1.0, 0.0), Err(CallError::Function(MathError::DivByZero)))
            .stream::<count>(|(to,)| (0..to).map(Ok).collect()),
    )
    .await;
    let client = mock.client();
    let sum = client.call_json("add", json!({ "b": 2, "a": 1 }));
    assert_eq!(soon(sum).await.unwrap(), json!(3));
    let error = soon(client.call_json("divide", json!([1.0, 0.0]))).await.unwrap_err();
    assert_eq!(error.function(), Some(&JsonError(json!("DivByZero"))));
    let items = client.stream_json("count", json!([2]));
    assert_eq!(soon(items.try_collect::<Vec<_>>()).await.unwrap(), [json!(0), json!(1)]);
    // Arguments that do not fit are refused as by any node.
    let error = soon(client.call_json("add", json!(["x", 2]))).await.unwrap_err();
    assert_eq!(remote_error(error).kind(), ErrorKind::BadArguments);
    assert_eq!(mock.calls::<add>(), [(1, 2)]);
    mock.verify();
}

#[tokio::test]
async fn a_closure_that_panics_is_a_function_that_panics() {
    let mock = serve(Mock::builder().on::<add>(|(a, _)| panic!("{a} is too much"))).await;
    let error = soon(add::call(mock.client(), 7, 2)).await.unwrap_err();
    assert_eq!((error.kind(), error.executed()), (ErrorKind::Panicked, Executed::Yes));
    assert!(error.to_string().contains("7 is too much"), "{error}");
}

#[tokio::test]
async fn nodes_of_mocks_have_tags_and_can_be_lost() {
    let mock = serve(Mock::builder().id("gpu-1").tag("gpu").tag("fast").hang::<add>()).await;
    let call = add::call(mock.client(), 1, 2).on("gpu-1").tag("gpu").tag("fast");
    let call = tokio::spawn(call);
    soon(mock.called::<add>(1)).await;
    soon(mock.world().kill_node("gpu-1")).await;
    let error = soon(call).await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.node()), (ErrorKind::NodeLost, Some("gpu-1")));
    mock.verify();
}

#[tokio::test]
async fn misuse_of_a_builder_says_what_is_wrong() {
    let panic = |misuse: fn() -> MockBuilder| {
        let panic = catch_unwind(misuse).unwrap_err();
        panic
            .downcast::<String>()
            .map_or_else(|other| (*other.downcast::<&str>().unwrap()).to_owned(), |text| *text)
    };
    let text = panic(|| Mock::builder().times(1));
    assert_eq!(text, "`times` comes after the answer that it is for");
    let text = panic(|| Mock::builder().upload::<add>(|_, _| async { Ok(1) }));
    assert_eq!(text, "`add` takes no stream from its caller");
    let text = panic(|| {
        #[remote]
        fn add(a: f32) -> f32 {
            a
        }
        Mock::builder().on::<self::add>(|_| Ok(0)).on::<add>(|(a,)| Ok(a))
    });
    assert_eq!(text, "two functions of different types are called `add`");
    let mock = serve(Mock::builder().on::<add>(|_| Ok(0))).await;
    let panic = catch_unwind(AssertUnwindSafe(|| mock.calls::<greet>())).unwrap_err();
    let text = panic.downcast::<String>().unwrap();
    assert_eq!(*text, r#"the mock has no answer for `greet`; it has answers for ["add"]"#);
}
