use easyremote::remote;

struct Tensor;
struct Model;

#[remote]
impl Model {
    fn embed(&self, tensor: Tensor) -> u64 {
        let Tensor = tensor;
        1
    }
}

fn main() {}
