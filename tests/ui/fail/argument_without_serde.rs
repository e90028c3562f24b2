use easyremote::remote;

struct Tensor;

#[remote]
fn embed(scale: f32, tensor: Tensor) -> f32 {
    let _ = tensor;
    scale
}

fn main() {}
