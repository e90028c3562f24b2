use easyremote::remote;

struct Model;

#[remote]
impl Model {
    async fn double(&self) -> Self {
        Model
    }
}

fn main() {}
