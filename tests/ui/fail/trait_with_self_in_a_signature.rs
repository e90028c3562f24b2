use easyremote::remote;

#[remote]
trait Embedder {
    fn merge(&self, other: Self) -> Box<Self>;
}

fn main() {}
