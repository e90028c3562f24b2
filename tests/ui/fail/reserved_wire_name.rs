use easyremote::remote;

#[remote(name = "easyremote.list")]
fn one() -> u8 {
    1
}

fn main() {}
