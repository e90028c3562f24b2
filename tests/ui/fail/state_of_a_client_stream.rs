use easyremote::remote;
use futures::Stream;

#[remote]
async fn upload(#[state] chunks: impl Stream<Item = Vec<u8>>) {
    drop(chunks);
}

fn main() {}
