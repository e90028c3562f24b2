use easyremote::remote;

#[remote]
fn motto() -> &'static str {
    "plain functions"
}

fn main() {}
