use easyremote::remote;

#[remote]
fn first<const N: usize>(values: [u8; N]) -> u8 {
    values[0]
}

fn main() {}
