use easyremote::remote;

struct BadRow;

#[remote(stream)]
fn rows(n: u64) -> impl Iterator<Item = Result<u64, BadRow>> {
    (0..n).map(Ok)
}

fn main() {}
