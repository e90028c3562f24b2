use easyremote::remote;

mod api {
    #[super::remote(stream)]
    pub fn count() -> impl Iterator<Item = u64>;
    #[super::remote]
    pub fn list() -> Vec<u64>;
}

#[remote(implements = api::count)]
fn count() -> Vec<u64> {
    Vec::new()
}

#[remote(stream, implements = api::list)]
fn list() -> impl Iterator<Item = u64> {
    0..7
}

fn main() {}
