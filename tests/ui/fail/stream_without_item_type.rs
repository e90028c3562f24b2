use easyremote::remote;

#[remote(stream)]
fn count() -> impl Iterator {
    0..3
}

fn main() {}
