use easyremote::remote;

#[remote]
#[remote(inline)]
fn one() -> u8 {
    1
}

fn main() {}
