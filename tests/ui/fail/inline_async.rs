use easyremote::remote;

#[remote(inline)]
async fn wait() {}

fn main() {}
