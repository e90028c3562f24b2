use easyremote::remote;

#[remote]
fn count(to: u64) -> impl Iterator<Item = u64> {
    0..to
}

fn main() {}
