use easyremote::remote;

#[remote(replay = "1MiB")]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn main() {}
