use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
