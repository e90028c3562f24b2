use std::rc::Rc;

use easyremote::remote;

#[remote(batch)]
async fn lengths(texts: Vec<String>) -> Vec<usize> {
    let texts = Rc::new(texts);
    std::future::ready(()).await;
    texts.iter().map(String::len).collect()
}

fn main() {}
