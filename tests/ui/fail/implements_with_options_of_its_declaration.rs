use easyremote::remote;

mod api {
    #[super::remote]
    pub async fn embed(text: String) -> Vec<f32>;
}

#[remote(implements = api::embed, name = "embed", timeout = "30s", idempotent)]
async fn embed(_text: String) -> Vec<f32> {
    Vec::new()
}

fn main() {}
