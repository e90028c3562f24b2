use easyremote::remote;

struct Model;

#[remote(name = "ai:Model")]
impl Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
