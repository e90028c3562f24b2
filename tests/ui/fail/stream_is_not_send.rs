use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use easyremote::remote;
use futures::Stream;

struct Letters {
    text: Rc<String>,
}

impl Stream for Letters {
    type Item = usize;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<usize>> {
        Poll::Ready(Some(self.text.len()))
    }
}

#[remote(stream)]
fn letters(text: String) -> impl Stream<Item = usize> {
    Letters { text: Rc::new(text) }
}

fn main() {}
