//! A sensor that is ten times as fast as its reader: with `latest` the reader sees what is, and
//! without it what was.

use std::time::{Duration, SystemTime};

use easyremote::{Client, Gateway, Node, functions, remote};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::{interval, sleep};

/// How often the sensor measures.
const PERIOD: Duration = Duration::from_millis(10);

/// How long the reader works on each reading: it draws a chart, or writes to a slow disk.
const WORK: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    /// Counts from 0 for each call.
    number: u64,
    /// When it was measured, by the clock of the node.
    at: SystemTime,
    degrees: f64,
}

/// Measures for as long as someone reads.
#[remote(stream)]
fn temperature() -> impl Stream<Item = Reading> {
    stream::unfold((interval(PERIOD), 0), |(mut clock, number)| async move {
        clock.tick().await;
        let degrees = 20.0 + 5.0 * (number as f64 / 100.0).sin();
        Some((Reading { number, at: SystemTime::now(), degrees }, (clock, number + 1)))
    })
}

/// Takes 20 readings from a stream, slowly. Returns the greatest age of one, and how many the
/// reader has not seen.
async fn read_slowly(
    mut readings: impl Stream<Item = Result<Reading, easyremote::Error>> + Unpin,
) -> Result<(Duration, u64), Box<dyn std::error::Error>> {
    let (mut next, mut oldest, mut skipped) = (0, Duration::ZERO, 0);
    for _ in 0..20 {
        let reading = readings.next().await.ok_or("the sensor has stopped")??;
        // Between machines, an age is as exact as their clocks.
        let age = reading.at.elapsed().unwrap_or_default();
        let Reading { number, degrees, .. } = reading;
        let missed = number - next;
        println!("  {degrees:.2} degrees, {:4} ms ago; {missed} skipped", age.as_millis());
        (next, oldest, skipped) = (number + 1, oldest.max(age), skipped + missed);
        sleep(WORK).await;
    }
    Ok((oldest, skipped))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let _node = Node::serve(address, functions![temperature]).await?;
    let client = Client::connect(address).await?;

    println!("every reading, one after the other:");
    let (oldest_of_all, skipped) = read_slowly(temperature::call(&client)).await?;
    assert_eq!(skipped, 0, "a stream is without gaps");

    // The node keeps the newest reading only, and sends it when the reader comes for the next one.
    println!("the latest reading, each time:");
    let (oldest, skipped) = read_slowly(temperature::call(&client).latest()).await?;
    let [plain, latest] = [oldest_of_all, oldest].map(|age| age.as_millis());
    println!("the oldest reading was {plain} ms old; with `latest`, {latest} ms");
    assert!(skipped > 0, "the reader is slower than the sensor");
    assert!(oldest < oldest_of_all / 2, "what it reads is old");
    Ok(())
}
