use easyremote::remote;

#[remote]
unsafe fn one() -> u8 {
    1
}

fn main() {}
