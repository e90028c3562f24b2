//! A log that survives its gateway: the gateway is killed three times while a client reads, and no
//! line is lost or read twice.

use std::time::{Duration, Instant};

use easyremote::{Client, ErrorKind, Gateway, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use tokio::time::{interval, sleep};

/// How often a line is written, whether someone reads or not.
const PERIOD: Duration = Duration::from_millis(10);

/// The lines of a log as they are written. The function knows nothing of gateways.
#[remote(stream)]
fn follow() -> impl Stream<Item = String> {
    stream::unfold((interval(PERIOD), 1), |(mut clock, number)| async move {
        clock.tick().await;
        Some((format!("line {number}"), (clock, number + 1)))
    })
}

/// Kills the gateway, and starts another one at its address a moment later.
async fn restart(gateway: Gateway) -> Result<Gateway, easyremote::Error> {
    let address = gateway.local_addr();
    drop(gateway); // no goodbye to its streams, as if its process was killed
    sleep(Duration::from_millis(200)).await;
    Gateway::serve(address).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let _node = Node::serve(address, functions![follow]).await?;
    let client = Client::connect(address).await?;

    // A plain stream ends with its gateway, and says how far it came.
    let mut lines = follow::call(&client);
    lines.next().await.ok_or("the log is empty")??;
    gateway = restart(gateway).await?;
    let error = loop {
        match lines.next().await.ok_or("the log has ended")? {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    println!("a plain stream, after {} lines: {error}", error.delivered());
    assert_eq!(error.kind(), ErrorKind::ConnectionLost);

    // A resumable one goes on at the next line. The node keeps what the reader has not taken.
    let mut lines = follow::call(&client).take(400).wait_for_node().resumable();
    let mut n_lines = 0;
    while let Some(line) = lines.next().await {
        n_lines += 1;
        assert_eq!(line?, format!("line {n_lines}"));
        if n_lines % 100 == 0 && n_lines < 400 {
            let killed = Instant::now();
            gateway = restart(gateway).await?;
            println!(
                "line {n_lines}: the gateway was killed, and is back after {:.0?}",
                killed.elapsed()
            );
        }
    }
    println!("all {n_lines} lines have arrived, each once and in order");
    assert_eq!(n_lines, 400);
    Ok(())
}
