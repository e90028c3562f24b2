use easyremote::remote;

#[remote(stream)]
fn nothing() {}

fn main() {}
