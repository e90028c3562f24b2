use easyremote::remote;

mod add {}

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn main() {}
