//! Gateway, node and client in one process: a call, an error, and two live streams.

use std::time::Duration;

use easyremote::{CallError, Client, Gateway, Node, functions, remote};
use futures::{Stream, StreamExt, stream};

#[remote]
fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct DivisionByZero;

#[remote]
async fn divide(a: f64, b: f64) -> Result<f64, DivisionByZero> {
    if b == 0.0 { Err(DivisionByZero) } else { Ok(a / b) }
}

#[remote(stream)]
fn squares(n: u64) -> impl Iterator<Item = u64> {
    (1..=n).map(|i| i * i)
}

#[remote(stream)]
fn ticks(every: Duration) -> impl Stream<Item = u64> {
    stream::iter(0..).then(move |i| async move {
        tokio::time::sleep(every).await;
        i
    })
}

#[tokio::main]
async fn main() -> Result<(), easyremote::Error> {
    let gateway = Gateway::serve("127.0.0.1:0").await?; // a public host, in real life
    let address = gateway.local_addr();
    let _node = Node::serve(address, functions![add, divide, squares, ticks]).await?;
    let client = Client::connect(address).await?;

    println!("1 + 2 = {}", add::call(&client, 1, 2).await?);

    match divide::call(&client, 1.0, 0.0).await {
        Ok(quotient) => println!("1 / 0 = {quotient}"),
        Err(CallError::Function(DivisionByZero)) => println!("1 / 0: division by zero"),
        Err(CallError::Remote(error)) => return Err(error),
    }

    let mut squares = squares::call(&client, 5);
    while let Some(square) = squares.next().await {
        println!("square: {}", square?);
    }

    let mut ticks = ticks::call(&client, Duration::from_millis(100)).take(3); // it is endless
    while let Some(tick) = ticks.next().await {
        println!("tick {}", tick?);
    }
    Ok(())
}
