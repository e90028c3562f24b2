use easyremote::remote;

#[remote]
fn ignore(_: bool) {}

fn main() {}
