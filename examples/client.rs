//! The client of a program of three processes; see `gateway.rs`.
//!
//! Calls the functions of `node.rs` by name, with JSON. A client that shares their definitions
//! calls them as in `quickstart.rs`.

use std::time::Duration;

use easyremote::client::JsonError;
use easyremote::{CallError, Client};
use futures::StreamExt;
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), CallError<JsonError>> {
    // On another machine, use the ticket for clients that the gateway prints.
    let client = Client::connect("127.0.0.1:8080").await?;
    let words = client.call_json("count_words", json!(["far away and yet so near"]));
    // This program may start before the node.
    let words = words.wait_for_node().timeout(Duration::from_secs(15)).await?;
    println!("words: {words}");

    for function in client.functions().await? {
        println!("{}{}: {}", function.name, function.signature, function.doc);
    }

    let mut numbers = client.stream_json("count_down", json!({ "from": 5 }));
    while let Some(number) = numbers.next().await {
        println!("{}", number?);
    }
    Ok(())
}
