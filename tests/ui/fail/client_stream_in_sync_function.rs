use easyremote::remote;
use futures::Stream;

#[remote]
fn upload(name: String, chunks: impl Stream<Item = Vec<u8>>) -> usize {
    drop(chunks);
    name.len()
}

fn main() {}
