use std::pin::Pin;

use easyremote::remote;
use futures::{Stream, stream};

#[remote(stream)]
fn count(to: u64) -> Result<Pin<Box<dyn Stream<Item = u64>>>, String> {
    Ok(Box::pin(stream::iter(0..to)))
}

fn main() {}
