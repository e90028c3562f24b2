use easyremote::remote;

#[remote]
trait Embedder {
    type Vector;
    const LENGTH: usize;

    fn embed(&self, text: String) -> usize;
}

fn main() {}
