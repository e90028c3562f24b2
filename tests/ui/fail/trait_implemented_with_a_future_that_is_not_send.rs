use std::rc::Rc;

use easyremote::remote;

#[remote]
trait Embedder {
    async fn embed(&self, text: String) -> usize;
}

struct Model;

impl Embedder for Model {
    async fn embed(&self, text: String) -> usize {
        let shared = Rc::new(text);
        std::future::ready(()).await;
        shared.len()
    }
}

fn main() {}
