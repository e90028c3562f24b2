use easyremote::remote;
use futures::stream::BoxStream;

#[remote]
async fn upload(chunks: BoxStream<'static, Vec<u8>>) {
    drop(chunks);
}

fn main() {}
