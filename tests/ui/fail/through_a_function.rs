use easyremote::{Client, remote};
use futures::{Stream, stream};

#[remote(stream)]
fn count(to: u64) -> impl Stream<Item = u64> {
    stream::iter(0..to)
}

#[remote]
fn double(n: u64) -> u64 {
    2 * n
}

fn doubled(client: &Client) {
    let _ = count::call(client, 7).through(double::call(client, 1));
    let _ = count::call(client, 7).through(double);
}

fn main() {}
