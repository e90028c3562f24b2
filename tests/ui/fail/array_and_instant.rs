use std::time::Instant;

use easyremote::remote;

#[remote]
fn hash(digest: [u8; 64]) -> bool {
    digest[0] == 0
}

#[remote]
fn now() -> Instant {
    Instant::now()
}

fn main() {}
