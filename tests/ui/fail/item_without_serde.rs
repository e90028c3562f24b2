use easyremote::remote;

struct Row;

#[remote(stream)]
fn rows(n: usize) -> impl Iterator<Item = Row> {
    (0..n).map(|_| Row)
}

fn main() {}
