use easyremote::remote;

#[remote]
struct Model;

fn main() {}
