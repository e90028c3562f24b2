use easyremote::remote;

struct Model<'a>(&'a str);

#[remote]
impl<'a> Model<'a> {
    fn embed(&self, text: String) -> usize {
        text.len() + self.0.len()
    }
}

fn main() {}
