use easyremote::remote;

#[remote]
const fn one() -> u8 {
    1
}

fn main() {}
