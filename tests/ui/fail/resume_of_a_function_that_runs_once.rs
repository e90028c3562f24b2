use easyremote::remote;
use futures::{Stream, stream};

#[remote(stream)]
fn count(#[resume] done: u64, to: u64) -> impl Stream<Item = u64> {
    stream::iter(done..to)
}

fn main() {}
