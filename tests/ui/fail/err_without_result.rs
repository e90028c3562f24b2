use easyremote::remote;

#[remote(err = "display")]
async fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[remote(stream, err = "display")]
fn count() -> impl Iterator<Item = u64> {
    0..7
}

fn main() {}
