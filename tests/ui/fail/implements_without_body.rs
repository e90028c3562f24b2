use easyremote::remote;

#[remote(implements = api::embed)]
pub async fn embed(text: String) -> Vec<f32>;

fn main() {}
