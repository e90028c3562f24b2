use easyremote::remote;

#[remote]
fn show(value: u64) -> impl std::fmt::Display {
    value
}

fn main() {}
