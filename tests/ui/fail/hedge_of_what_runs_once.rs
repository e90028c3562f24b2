use std::time::Duration;

use easyremote::{Client, remote};

#[remote]
async fn pay(amount: u64) -> u64 {
    amount
}

async fn twice(client: &Client) {
    let _ = pay::call(client, 7).hedge(Duration::from_millis(20)).await;
}

fn main() {}
