//! Arithmetic: two sync functions, an async one, and an iterator.

use std::collections::BTreeMap;
use std::thread;
use std::time::Instant;

use easyremote::remote;
use serde::{Deserialize, Serialize};

use super::datum::Datum;
use super::{seconds, timestamp};

/// Adds two numbers.
#[remote]
pub(crate) fn sync_add(a: i64, b: i64) -> i64 {
    a + b
}

/// The result of [`fn@sync_process_data`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProcessedData {
    pub(crate) original: BTreeMap<String, Datum>,
    pub(crate) processed: BTreeMap<String, Datum>,
    pub(crate) timestamp: f64,
}

/// Doubles the numbers in a map; other values stay as they are.
#[remote]
pub(crate) fn sync_process_data(data: BTreeMap<String, Datum>) -> ProcessedData {
    let original = data.clone();
    let processed = data.into_iter().map(|(key, value)| (key, value.doubled())).collect();
    ProcessedData { original, processed, timestamp: timestamp() }
}

/// The result of [`fn@async_computation`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Computation {
    pub(crate) input_data: Vec<i64>,
    pub(crate) sum: i128,
    /// 0 without data.
    pub(crate) average: f64,
    pub(crate) max: Option<i64>,
    pub(crate) min: Option<i64>,
    pub(crate) processing_time: f64,
    pub(crate) timestamp: f64,
}

/// Sum, average and range of `data`, after `delay` seconds in which other calls go on.
#[remote]
pub(crate) async fn async_computation(data: Vec<i64>, delay: f64) -> Computation {
    let started = Instant::now();
    tokio::time::sleep(seconds(delay)).await;
    let sum = data.iter().copied().map(i128::from).sum();
    Computation {
        sum,
        average: if data.is_empty() { 0.0 } else { sum as f64 / data.len() as f64 },
        max: data.iter().copied().max(),
        min: data.iter().copied().min(),
        input_data: data,
        processing_time: started.elapsed().as_secs_f64(),
        timestamp: timestamp(),
    }
}

/// An item of [`fn@sync_number_stream`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NumberItem {
    pub(crate) number: i64,
    pub(crate) square: i128,
    pub(crate) cube: i128,
    pub(crate) timestamp: f64,
    /// Such as `2/5`.
    pub(crate) progress: String,
    pub(crate) stream_type: String,
}

/// `count` numbers from `start` on with their powers, one every `interval` seconds.
#[remote(stream)]
pub(crate) fn sync_number_stream(
    start: i32,
    count: u32,
    interval: f64,
) -> impl Iterator<Item = NumberItem> {
    // An i32 and a u32 cannot leave an i64, nor their cube an i128.
    (0..count).map(move |i| {
        if i > 0 {
            thread::sleep(seconds(interval));
        }
        let number = i64::from(start) + i64::from(i);
        NumberItem {
            number,
            square: i128::from(number).pow(2),
            cube: i128::from(number).pow(3),
            timestamp: timestamp(),
            progress: format!("{}/{count}", i + 1),
            stream_type: "sync_generator".to_owned(),
        }
    })
}
