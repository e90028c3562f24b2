use easyremote::remote;

#[remote(timeout = 30)]
fn one() -> u8 {
    1
}

fn main() {}
