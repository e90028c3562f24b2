use easyremote::remote;
use futures::Stream;

#[remote]
async fn upload(lines: impl Stream<Item = &'static str>) {
    drop(lines);
}

fn main() {}
