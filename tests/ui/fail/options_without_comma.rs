use easyremote::remote;

#[remote(inline name = "uno")]
fn one() -> u8 {
    1
}

fn main() {}
