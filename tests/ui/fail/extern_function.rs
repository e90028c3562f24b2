use easyremote::remote;

#[remote]
extern "C" fn one() -> u8 {
    1
}

fn main() {}
