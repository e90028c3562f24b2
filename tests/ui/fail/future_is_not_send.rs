use std::rc::Rc;

use easyremote::remote;

async fn wait() {}

#[remote]
async fn length(text: String) -> usize {
    let text = Rc::new(text);
    wait().await;
    text.len()
}

fn main() {}
