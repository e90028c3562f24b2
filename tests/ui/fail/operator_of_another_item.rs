use easyremote::{Client, remote};
use futures::{Stream, stream};

#[remote(stream)]
fn count(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

#[remote(operator)]
fn hot(celsius: f64, limit: f64) -> Option<f64> {
    (celsius > limit).then_some(celsius)
}

fn hot_ones(client: &Client) {
    let _ = count::call(client, 7).through(hot::with(30.0));
}

fn main() {}
