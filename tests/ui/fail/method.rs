use easyremote::remote;

struct Model;

impl Model {
    #[remote]
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
