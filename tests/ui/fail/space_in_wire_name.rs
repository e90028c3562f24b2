use easyremote::remote;

#[remote(name = "two words")]
fn one() -> u8 {
    1
}

fn main() {}
