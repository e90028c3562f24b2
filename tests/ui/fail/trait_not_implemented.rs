use easyremote::{functions, remote};

#[remote]
trait Embedder {
    fn embed(&self, text: String) -> usize;
}

struct Model;

fn main() {
    let _ = functions![EmbedderServer<Model>];
}
