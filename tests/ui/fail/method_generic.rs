use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn embed<T: ToString>(&self, text: T) -> usize {
        text.to_string().len()
    }
}

fn main() {}
