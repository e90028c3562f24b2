//! Calls with one result: each function, with its types and by its name.

use std::collections::BTreeMap;
use std::time::Duration;

use easyremote::Client;
use easyremote::client::Kind;
use serde_json::{Value, json};

use crate::Failure;
use crate::functions::datum::Datum;
use crate::functions::numbers::{async_computation, sync_add, sync_process_data};
use crate::functions::text::{Sentiment, async_ai_simulation};
use crate::scenarios::{Outcome, Seen, ensure};

const DELAY: f64 = 0.05;

/// Every unary function returns the expected result.
pub(super) async fn basic(client: Client) -> Outcome {
    let sum = sync_add::call(&client, 10, 20).await?;
    ensure!(sum == 30, "10 + 20 = {sum}");
    process_data(&client).await?;
    computation(&client).await?;
    sentiment(&client).await?;
    Ok(Seen::note("4 functions"))
}

async fn process_data(client: &Client) -> Outcome {
    let data = BTreeMap::from([
        ("value".to_owned(), Datum::Integer(42)),
        ("ratio".to_owned(), Datum::Number(0.25)),
        ("name".to_owned(), Datum::Text("test".to_owned())),
        ("list".to_owned(), Datum::List(vec![Datum::Null, Datum::Bool(true)])),
    ]);
    let here = sync_process_data(data.clone());
    let there = sync_process_data::call(client, data).await?;
    ensure!(there.processed["value"] == Datum::Integer(84), "42 became {:?}", there.processed);
    ensure!(there.processed["name"] == Datum::Text("test".to_owned()), "a text has changed");
    ensure!(there.original == here.original, "the original has changed: {:?}", there.original);
    ensure!(there.processed == here.processed, "the node computes {:?}", there.processed);
    ensure!(there.timestamp > 0.0, "there is no timestamp");
    Ok(Seen::default())
}

async fn computation(client: &Client) -> Outcome {
    let some = async_computation::call(client, vec![1, 2, 3, 4, 5], DELAY).await?;
    ensure!(some.input_data == [1, 2, 3, 4, 5], "the input has changed: {:?}", some.input_data);
    ensure!((some.sum, some.average) == (15, 3.0), "sum and average are wrong: {some:?}");
    ensure!((some.max, some.min) == (Some(5), Some(1)), "the range is wrong: {some:?}");
    let waited = Duration::from_secs_f64(some.processing_time);
    ensure!(waited >= Duration::from_secs_f64(DELAY), "it took only {waited:?}");
    let none = async_computation::call(client, Vec::new(), 0.0).await?;
    ensure!((none.sum, none.average) == (0, 0.0), "the sum of nothing is wrong: {none:?}");
    ensure!((none.max, none.min) == (None, None), "nothing has a range: {none:?}");
    Ok(Seen::default())
}

async fn sentiment(client: &Client) -> Outcome {
    for (text, expected) in [
        ("I love this wonderful library", Sentiment::Positive),
        ("What a terrible mess", Sentiment::Negative),
        ("This is not good at all", Sentiment::Negative),
        ("The gateway is in Lisbon", Sentiment::Neutral),
    ] {
        let found = async_ai_simulation::call(client, text.to_owned(), DELAY).await?;
        ensure!(found.sentiment == expected, "`{text}` is {:?}", found.sentiment);
        ensure!(found.word_count == text.split(' ').count(), "the word count is wrong: {found:?}");
        ensure!((-1.0..=1.0).contains(&found.sentiment_score), "the score is wrong: {found:?}");
        ensure!((0.0..=1.0).contains(&found.confidence), "the confidence is wrong: {found:?}");
    }
    Ok(Seen::default())
}

/// The same without types, in JSON.
pub(super) async fn by_name(client: Client) -> Outcome {
    let sum = json_call(&client, "sync_add", json!({"a": 10, "b": 20})).await?;
    ensure!(sum == 30, "10 + 20 = {sum}");
    let data = json!({"a": 1, "b": "x", "c": [1.5, null]});
    let answer = json_call(&client, "sync_process_data", json!([data])).await?;
    ensure!(answer["original"] == data, "the original has changed: {}", answer["original"]);
    let processed = json!({"a": 2, "b": "x", "c": [1.5, null]});
    ensure!(answer["processed"] == processed, "the node computes {}", answer["processed"]);
    let answer = json_call(&client, "async_computation", json!([[2, 4], 0.0])).await?;
    ensure!(answer["average"] == 3.0, "the average of 2 and 4 is {}", answer["average"]);
    listed(&client).await
}

/// The list of functions is complete, and each has its kind.
async fn listed(client: &Client) -> Outcome {
    let listed = client.functions().await?;
    for (name, kind) in [
        ("sync_add", Kind::Unary),
        ("sync_process_data", Kind::Unary),
        ("async_computation", Kind::Unary),
        ("async_ai_simulation", Kind::Unary),
        ("sync_number_stream", Kind::Stream),
        ("async_data_stream", Kind::Stream),
        ("async_ml_inference_stream", Kind::Stream),
        ("async_complex_pipeline", Kind::Stream),
    ] {
        let listed = listed.iter().any(|function| function.name == name && function.kind == kind);
        ensure!(listed, "`{name}` is not listed as {kind}");
    }
    Ok(Seen::note(format!("{} functions are listed", listed.len())))
}

async fn json_call(client: &Client, function: &str, arguments: Value) -> Result<Value, Failure> {
    // A function's own failure is any JSON, which does not implement `Error`.
    client.call_json(function, arguments).await.map_err(|error| error.to_string().into())
}
