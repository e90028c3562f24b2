use easyremote::remote;

#[remote(inline, stream)]
fn count() -> impl Iterator<Item = u64> {
    0..3
}

fn main() {}
