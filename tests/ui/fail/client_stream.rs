use easyremote::remote;

#[remote]
fn upload(chunks: impl futures::Stream<Item = Vec<u8>>) {
    drop(chunks);
}

fn main() {}
