use easyremote::remote;
use futures::Stream;

#[remote(inline)]
fn upload(chunks: impl Stream<Item = Vec<u8>>) {
    drop(chunks);
}

fn main() {}
