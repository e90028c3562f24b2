use std::sync::Arc;

use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn embed(self: Arc<Self>, text: String) -> usize {
        text.len()
    }

    fn close(self) {}
}

fn main() {}
