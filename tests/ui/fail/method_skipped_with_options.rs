use easyremote::remote;

struct Model;

#[remote]
impl Model {
    #[remote(skip, timeout = "30s")]
    fn local(&mut self) {}

    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
