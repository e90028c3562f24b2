use easyremote::remote;

#[remote]
trait Embedder {
    async fn embed(&mut self, text: String) -> usize;
}

fn main() {}
