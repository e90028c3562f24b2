use easyremote::remote;

struct Model;

#[remote(name = "ai.Model", timeout = "30s", inline)]
impl Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
