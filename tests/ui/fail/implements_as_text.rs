use easyremote::remote;

#[remote(implements = "api::embed")]
fn embed() -> u8 {
    0
}

fn main() {}
