use easyremote::remote;

#[remote(stream)]
fn count(to: u64) -> Vec<u64> {
    (0..to).collect()
}

fn main() {}
