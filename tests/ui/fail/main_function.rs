use easyremote::remote;

#[remote]
fn main() {}
