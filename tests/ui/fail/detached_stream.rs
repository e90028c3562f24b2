use easyremote::remote;

#[remote(stream, detached)]
fn count() -> impl Iterator<Item = u64> {
    0..7
}

fn main() {}
