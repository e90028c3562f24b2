//! A mistake in one function hides none in another, and uses of both still compile.
use easyremote::remote;

#[remote]
fn first(text: &str) -> usize {
    text.len()
}

#[remote]
fn second() -> impl Iterator<Item = usize> {
    0..first("three words long")
}

fn main() {
    let _ = second().sum::<usize>();
}
