use easyremote::remote;

mod api {
    #[super::remote(stream)]
    pub fn count() -> impl Iterator<Item = u64>;
    #[super::remote(stream)]
    pub fn tail() -> Result<impl Iterator<Item = u64>, String>;
}

#[remote(stream, implements = api::count)]
fn count() -> impl Iterator<Item = u32> {
    0..7
}

#[remote(stream, implements = api::tail)]
fn tail() -> impl Iterator<Item = u64> {
    0..7
}

fn main() {}
