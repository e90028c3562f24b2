use std::rc::Rc;

use easyremote::remote;

struct Model;

#[remote]
impl Model {
    async fn embed(&self, text: String) -> usize {
        let shared = Rc::new(text);
        std::future::ready(()).await;
        shared.len()
    }
}

fn main() {}
