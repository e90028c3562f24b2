use easyremote::remote;

struct Model;

#[remote]
impl Model {
    #[remote(inline)]
    fn add(a: i64, b: i64) -> i64 {
        a + b
    }

    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
