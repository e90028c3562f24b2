use easyremote::remote;

struct Model {
    name: String,
}

#[remote]
impl Model {
    fn name(&self) -> &str {
        &self.name
    }
}

fn main() {}
