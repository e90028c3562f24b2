use easyremote::remote;

pub struct Model;

#[remote(implements = Model)]
fn embed() -> u8 {
    0
}

fn main() {}
