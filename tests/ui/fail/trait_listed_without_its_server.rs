use easyremote::{functions, remote};

#[remote]
trait Embedder {
    fn embed(&self, text: String) -> usize;
}

struct Model;

impl Embedder for Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {
    let _ = functions![Model];
}
