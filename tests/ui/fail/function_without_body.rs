use easyremote::remote;

#[remote]
pub async fn embed(text: String) -> Vec<f32>;

fn main() {}
