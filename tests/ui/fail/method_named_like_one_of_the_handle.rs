use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn instance(&self) -> u64 {
        1
    }

    fn remote(&self) -> u64 {
        2
    }
}

fn main() {}
