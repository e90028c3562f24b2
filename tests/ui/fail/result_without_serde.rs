use easyremote::remote;

struct Tensor;

#[remote]
fn embed(text: String) -> Vec<Tensor> {
    let _ = text;
    Vec::new()
}

fn main() {}
