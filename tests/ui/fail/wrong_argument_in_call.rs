use easyremote::{Client, remote};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

async fn calls(client: Client) {
    let _ = add::call(&client, 1, "2").await;
}

fn main() {
    let _ = calls;
}
