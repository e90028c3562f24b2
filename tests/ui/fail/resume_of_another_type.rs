use easyremote::remote;
use futures::{Stream, stream};

#[remote(stream, idempotent)]
fn count(#[resume] done: usize, to: usize) -> impl Stream<Item = usize> {
    stream::iter(done..to)
}

fn main() {}
