use easyremote::remote;
use futures::stream::{self, LocalBoxStream, StreamExt};

#[remote(stream)]
fn count(to: u64) -> LocalBoxStream<'static, u64> {
    stream::iter(0..to).boxed_local()
}

fn main() {}
