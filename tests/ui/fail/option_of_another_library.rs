use easyremote::remote;

#[remote(async_func = true)]
fn one() -> u8 {
    1
}

fn main() {}
