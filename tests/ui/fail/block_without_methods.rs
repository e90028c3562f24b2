use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn new() -> Self {
        Model
    }
}

fn main() {}
