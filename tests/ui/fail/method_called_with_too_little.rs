use easyremote::remote;

struct Model;

#[remote]
impl Model {
    fn add(&self, a: i64, b: i64) -> i64 {
        a + b
    }

    #[remote(skip)]
    fn local(&self) {}
}

async fn calls(client: &easyremote::Client) {
    let _ = Model::remote(client).add(1).await;
    let _ = Model::remote(client).local();
}

fn main() {}
