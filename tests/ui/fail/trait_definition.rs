use easyremote::remote;

#[remote]
trait Embedder {
    fn embed(&self, text: String) -> usize;
}

fn main() {}
