use easyremote::remote;
use futures::Stream;

struct Chunk;

#[remote]
async fn upload(name: String, chunks: impl Stream<Item = Chunk>) -> usize {
    drop(chunks);
    name.len()
}

fn main() {}
