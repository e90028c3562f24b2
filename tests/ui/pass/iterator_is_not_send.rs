//! An iterator stays on the thread that runs through it, also one that an `async fn` gives.
#![deny(warnings)]

use std::rc::Rc;

use easyremote::remote;

struct Letters {
    text: Rc<String>,
}

impl Iterator for Letters {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        Some(self.text.len())
    }
}

#[remote(stream)]
async fn letters(text: String) -> impl Iterator<Item = usize> {
    Letters { text: Rc::new(text) }
}

fn main() {}
