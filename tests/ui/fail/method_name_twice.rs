use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }

    #[remote(name = "embed")]
    fn embed_all(&self, texts: Vec<String>) -> usize {
        texts.len()
    }
}

fn main() {}
