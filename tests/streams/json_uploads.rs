//! Client streams of calls by name, with JSON items.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;

use bytes::Bytes;
use common::{Probe, SayOnDrop, serving, soon};
use easyremote::client::JsonStream;
use easyremote::{CallError, Client, ErrorKind, Executed, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::runtime::Builder;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Line((i8, i8), Option<String>),
}

/// Items of every kind come back as they were sent.
macro_rules! returned {
    ($($name:ident: $item:ty),* $(,)?) => {
        $(
            #[remote(stream)]
            fn $name(items: impl Stream<Item = $item> + Send) -> impl Stream<Item = $item> {
                items
            }
        )*
        fn returning() -> easyremote::node::Functions {
            functions![$($name),*]
        }
    };
}

returned! {
    of_units: (),
    of_numbers: u128,
    of_floats: f64,
    of_texts: String,
    of_bytes: Bytes,
    of_shapes: Shape,
    of_options: Option<Vec<Option<bool>>>,
    of_maps: BTreeMap<u16, Shape>,
    of_json: Value,
}

#[remote]
async fn total(from: u64, numbers: impl Stream<Item = u64>) -> u64 {
    numbers.fold(from, |sum, number| async move { sum + number }).await
}

#[remote(resumable)]
async fn stored(numbers: impl Stream<Item = u64>) -> Vec<u64> {
    numbers.collect().await
}

#[remote]
async fn first(numbers: impl Stream<Item = u64>) -> Result<u64, String> {
    Box::pin(numbers).next().await.ok_or_else(|| "none".to_owned())
}

#[remote(stream)]
fn small(limit: u64, numbers: impl Stream<Item = u64>) -> impl Stream<Item = Result<u64, u64>> {
    numbers.map(move |n| if n <= limit { Ok(n) } else { Err(n) })
}

#[remote]
async fn waits(probe: u64, numbers: impl Stream<Item = u64>) -> usize {
    let says = SayOnDrop(probe, "dropped");
    says.say("started");
    numbers.count().await
}

#[remote]
fn plain(n: u64) -> u64 {
    n
}

fn values(numbers: impl IntoIterator<Item = u64>) -> impl Stream<Item = Value> {
    stream::iter(numbers.into_iter().map(Value::from).collect::<Vec<_>>())
}

/// Runs a test on each kind of runtime.
fn on_both<F: Future<Output = ()>>(test: impl Fn() -> F) {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test());
}

async fn same<T>(client: &Client, function: &str, items: Vec<T>)
where
    T: Debug + PartialEq + Serialize + for<'de> Deserialize<'de>,
{
    let sent: Vec<_> = items.iter().map(|item| serde_json::to_value(item).unwrap()).collect();
    let read = client.stream_json(function, json!([])).items(stream::iter(sent));
    let read: Vec<T> =
        soon(read.map(|item| serde_json::from_value(item.unwrap()).unwrap()).collect()).await;
    assert_eq!(read, items, "{function}");
}

#[test]
fn items_of_every_kind_arrive_as_they_were_sent() {
    on_both(async || {
        let (_world, client) = serving(returning()).await;
        same(&client, "of_units", vec![(); 3]).await;
        same(&client, "of_numbers", vec![0_u128, u128::from(u64::MAX)]).await;
        same(&client, "of_floats", vec![0.1, -1e300, f64::MIN_POSITIVE]).await;
        same(&client, "of_texts", vec![String::new(), "\n\"ü\u{0}".to_owned()]).await;
        same(&client, "of_bytes", vec![Bytes::new(), Bytes::from_static(&[0, 255])]).await;
        let shapes = vec![
            Shape::Point,
            Shape::Circle { radius: 0.5 },
            Shape::Line((-1, 1), None),
            Shape::Line((0, 0), Some("a".to_owned())),
        ];
        same(&client, "of_shapes", shapes.clone()).await;
        same(&client, "of_options", vec![None, Some(vec![]), Some(vec![None, Some(true)])]).await;
        let maps = vec![
            BTreeMap::new(),
            shapes.into_iter().enumerate().map(|(n, it)| (n as u16, it)).collect(),
        ];
        same(&client, "of_maps", maps).await;
        same(&client, "of_json", vec![json!(null), json!({"b": [1, {"a": 2.5}]})]).await;
        same::<u64>(&client, "of_numbers", vec![]).await;
    });
}

#[test]
fn each_kind_of_function_takes_them() {
    on_both(async || {
        let (_world, client) = serving(functions![total, stored, first, small]).await;
        let call = client.call_json("total", json!({"from": 10}));
        assert_eq!(soon(call.items(values(1..=1_000))).await.unwrap(), json!(500_510));
        let call = client.call_json("stored", json!([]));
        assert_eq!(soon(call.items(values([3, 1, 2]))).await.unwrap(), json!([3, 1, 2]));
        // It drops an endless stream after its first item.
        let call = client.call_json("first", json!([]));
        assert_eq!(soon(call.items(stream::repeat(json!(7)))).await.unwrap(), json!(7));
        let none = client.call_json("first", json!([])).items(values([]));
        let CallError::Function(error) = soon(none).await.unwrap_err() else { panic!() };
        assert_eq!(error.0, json!("none"));
        let items = client.stream_json("small", json!([4])).items(values(0..9)).every(2);
        let items: Vec<_> = soon(items.collect()).await;
        let shown: Vec<_> =
            items.into_iter().map(|item| item.map_err(|error| error.to_string())).collect();
        let fault = |n: u64| Err(n.to_string());
        let expected =
            [Ok(json!(0)), Ok(json!(2)), Ok(json!(4)), fault(5), fault(6), fault(7), fault(8)];
        assert_eq!(shown, expected);
    });
}

#[test]
fn what_does_not_fit_is_told_and_nothing_runs_on() {
    on_both(async || {
        let (_world, client) = serving(functions![total, waits, plain, small]).await;
        let (bad, yes) = (ErrorKind::BadArguments, Executed::Yes);
        let odd = client.call_json("total", json!([1])).items(stream::iter([json!(1), json!("2")]));
        let error = soon(odd).await.unwrap_err();
        let error = error.remote().unwrap();
        assert_eq!((error.kind(), error.executed()), (bad, yes), "{error}");
        assert!(error.to_string().contains("item 1"), "{error}");
        // A function that takes no stream.
        let call = client.call_json("plain", json!([1])).items(values([1]));
        let error = soon(call).await.unwrap_err();
        let error = error.remote().unwrap();
        assert_eq!((error.kind(), error.executed()), (bad, Executed::No), "{error}");
        let mut read: JsonStream = client.stream_json("total", json!([1])).items(values([]));
        let error = soon(read.next()).await.unwrap().unwrap_err();
        assert_eq!(error.remote().unwrap().kind(), bad);
        let job = client.call_json("total", json!([1])).items(values([1])).spawn();
        assert_eq!(soon(job).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut probe = Probe::new();
        let call = client.call_json("waits", json!([probe.key])).items(stream::pending());
        let call = tokio::spawn(call);
        assert_eq!(soon(probe.next()).await, "started");
        call.abort();
        assert_eq!(soon(probe.next()).await, "dropped");
    });
}
