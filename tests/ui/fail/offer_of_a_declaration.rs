use easyremote::{functions, remote};

mod api {
    #[super::remote]
    pub async fn embed(text: String) -> Vec<f32>;
}

fn main() {
    let _ = functions![api::embed];
}
