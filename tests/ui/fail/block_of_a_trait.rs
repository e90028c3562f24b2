use easyremote::remote;

struct Model;

trait Embedder {
    fn embed(&self, text: String) -> usize;
}

#[remote]
impl Embedder for Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
