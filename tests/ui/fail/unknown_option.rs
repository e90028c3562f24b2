use easyremote::remote;

#[remote(tiemout = "30s")]
fn one() -> u8 {
    1
}

fn main() {}
