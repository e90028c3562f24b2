use easyremote::{Client, remote};

#[remote(operator)]
fn hot(celsius: f64, limit: f64) -> Option<f64> {
    (celsius > limit).then_some(celsius)
}

async fn one(client: &Client) {
    hot::call(client, 7.0, 30.0).await;
}

fn main() {}
