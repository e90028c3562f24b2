use easyremote::remote;
use futures::Stream;

mod api {
    use futures::Stream;
    #[super::remote]
    pub async fn upload(chunks: impl Stream<Item = Vec<u8>>) -> u64;
}

#[remote(implements = api::upload)]
async fn upload(_chunks: impl Stream<Item = String>) -> u64 {
    0
}

#[remote(implements = api::upload, stub = Whole)]
async fn whole() -> u64 {
    0
}

fn main() {}
