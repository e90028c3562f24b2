use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

#[remote]
impl Model {
    fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }
}

fn main() {}
