use easyremote::remote;
use futures::Stream;

#[remote(stream)]
fn translate(audio: impl Stream<Item = Vec<u8>>) -> impl Iterator<Item = String> {
    drop(audio);
    std::iter::empty()
}

fn main() {}
