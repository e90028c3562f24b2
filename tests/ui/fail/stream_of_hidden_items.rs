use easyremote::remote;

struct Numbers;

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        None
    }
}

#[remote(stream)]
fn count() -> Numbers {
    Numbers
}

fn main() {}
