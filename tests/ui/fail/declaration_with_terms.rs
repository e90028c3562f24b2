use easyremote::remote;

#[remote(name = "models.embed", detached, concurrency = 8, needs = "gpu")]
pub async fn embed(text: String) -> Vec<f32>;

fn main() {}
