use easyremote::remote;

#[remote]
fn größe() -> u8 {
    1
}

fn main() {}
