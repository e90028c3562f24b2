use easyremote::remote;
use futures::Stream;

#[remote(detached)]
async fn upload(_chunks: impl Stream<Item = Vec<u8>>) -> u64 {
    0
}

fn main() {}
