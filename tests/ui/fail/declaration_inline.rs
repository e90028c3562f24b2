use easyremote::remote;

#[remote(inline)]
pub fn tiny(a: i64) -> i64;

fn main() {}
