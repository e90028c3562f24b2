use std::cell::Cell;

use easyremote::remote;

#[remote]
fn count(#[state] counter: &Cell<u64>, by: u64) -> u64 {
    counter.set(counter.get() + by);
    counter.get()
}

fn main() {}
