use easyremote::remote;

mod api {
    #[super::remote]
    pub async fn embed(text: String) -> Vec<f32>;
    #[super::remote]
    pub fn nothing();
}

#[remote(implements = api::embed)]
async fn embed(_text: String) -> Vec<f64> {
    Vec::new()
}

#[remote(implements = api::nothing)]
fn nothing() -> Option<u8> {
    None
}

fn main() {}
