use easyremote::remote;

pub struct Model;

#[remote]
pub async fn embed(#[state] model: &Model, #[ctx] ctx: &easyremote::Context, text: String) -> Vec<f32>;

fn main() {}
