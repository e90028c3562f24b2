use easyremote::remote;

struct Model<T>(T);

#[remote]
impl<T: Send + Sync + 'static> Model<T> {
    fn embed(&self, text: String) -> usize {
        text.len()
    }
}

fn main() {}
