use easyremote::remote;

#[remote(name = "")]
fn one() -> u8 {
    1
}

fn main() {}
