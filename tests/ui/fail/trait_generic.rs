use easyremote::remote;

#[remote]
trait Embedder<T> {
    fn embed(&self, text: String) -> usize;
}

fn main() {}
