use easyremote::remote;

mod api {
    #[super::remote]
    pub async fn embed(text: String, size: u32) -> Vec<f32>;
}

#[remote(implements = api::embed)]
async fn embed(#[state] _: &String, _text: String, _size: u64) -> Vec<f32> {
    Vec::new()
}

#[remote(implements = api::embed, stub = Short)]
async fn short(_text: String) -> Vec<f32> {
    Vec::new()
}

fn main() {}
