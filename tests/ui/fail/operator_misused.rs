use easyremote::remote;
use futures::Stream;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Reading(f64);

#[remote(operator)]
fn without_item() -> f64 {
    0.0
}

#[remote(operator)]
async fn waiting(reading: Reading) -> f64 {
    reading.0
}

#[remote(operator)]
fn lent(reading: &Reading) -> f64 {
    reading.0
}

#[remote(operator)]
fn changed(reading: &mut Reading) -> bool {
    reading.0 > 1.0
}

#[remote(operator)]
fn failing(reading: Reading) -> Result<f64, String> {
    Ok(reading.0)
}

#[remote(operator, stream, idempotent, batch(max = 8))]
fn of_many(reading: Reading) -> f64 {
    reading.0
}

#[remote(operator)]
fn fed(readings: impl Stream<Item = Reading>) -> f64 {
    drop(readings);
    0.0
}

fn main() {}
