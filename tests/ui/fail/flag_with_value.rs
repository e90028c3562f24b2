use easyremote::remote;

#[remote(stream = true)]
fn count() -> impl Iterator<Item = u64> {
    0..3
}

fn main() {}
