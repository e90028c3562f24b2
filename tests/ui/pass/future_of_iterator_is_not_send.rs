//! All of an `async fn` that gives an iterator runs on the thread of the iterator.
#![deny(warnings)]

use std::rc::Rc;

use easyremote::remote;

async fn wait() {}

#[remote(stream)]
async fn letters(text: String) -> impl Iterator<Item = usize> {
    let text = Rc::new(text);
    wait().await;
    let length = text.len();
    0..length
}

fn main() {}
