use easyremote::remote;

#[remote]
trait Embedder {
    fn new(name: String) -> u64;

    fn embed(&self, text: String) -> usize;
}

fn main() {}
