use easyremote::remote;

#[remote(name = "one", name = "uno")]
fn one() -> u8 {
    1
}

fn main() {}
