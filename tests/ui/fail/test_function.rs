use easyremote::remote;

#[remote]
#[test]
fn adds() {}

fn main() {}
