use easyremote::remote;
use futures::Stream;

#[remote]
async fn upload(chunks: impl Stream) {
    drop(chunks);
}

fn main() {}
