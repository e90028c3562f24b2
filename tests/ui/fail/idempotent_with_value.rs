use easyremote::remote;

#[remote(idempotent = true)]
fn set(_value: u8) {}

#[remote(detached(true))]
fn run(_value: u8) {}

fn main() {}
