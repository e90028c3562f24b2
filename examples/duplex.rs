//! Streams in both directions: a client sends the temperature of a room, and a node answers each
//! reading with the heating power, which determines the next reading.

use std::future::ready;
use std::time::{Duration, Instant};

use easyremote::{Client, Gateway, Node, functions, remote};
use futures::channel::mpsc;
use futures::{SinkExt, Stream, StreamExt};

/// Returns the heating power, from 0 to 1, for each reading in degrees.
///
/// A PI controller: the sum of all differences so far compensates for the constant loss of heat.
#[remote(stream)]
fn regulate(target: f64, readings: impl Stream<Item = f64>) -> impl Stream<Item = f64> {
    readings.scan(0.0, move |sum, reading| {
        let difference = target - reading;
        *sum = (*sum + 0.05 * difference).clamp(0.0, 1.0);
        ready(Some((0.4 * difference + *sum).clamp(0.0, 1.0)))
    })
}

/// A room in winter.
struct Room {
    degrees: f64,
}

impl Room {
    /// Simulates one minute.
    fn heat(&mut self, power: f64) {
        self.degrees += 2.0 * power - 0.04 * (self.degrees - 5.0);
    }
}

/// Heats `room` until it has been at `target` for a while. Returns the number of readings.
async fn keep_warm(
    client: &Client,
    target: f64,
    room: &mut Room,
) -> Result<u32, Box<dyn std::error::Error>> {
    let (mut send, readings) = mpsc::channel(1);
    let readings = readings.inspect(|degrees| print!("{degrees:5.2} degrees  -> "));
    let mut powers = regulate::call(client, target, readings);

    let (mut n, mut steady) = (0, 0);
    while steady < 5 {
        // The answer to this reading arrives while the stream of readings is still open.
        send.send(room.degrees).await?;
        let power = powers.next().await.ok_or("the node has ended the stream")??;
        println!(" heat at {:3.0} %", 100.0 * power);
        room.heat(power);
        n += 1;
        steady = if (room.degrees - target).abs() < 0.1 { steady + 1 } else { 0 };
        if n == 500 {
            return Err("the room does not get warm".into());
        }
    }
    // No more readings: the function's stream ends, and then the stream of answers.
    drop(send);
    match powers.next().await {
        None => Ok(n),
        Some(more) => Err(format!("an answer without a reading: {more:?}").into()),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let gateway = Gateway::serve("127.0.0.1:0").await?;
    let address = gateway.local_addr();
    let _node = Node::serve(address, functions![regulate]).await?;
    let client = Client::connect(address).await?;

    let start = Instant::now();
    let mut room = Room { degrees: 12.0 };
    let keeping = keep_warm(&client, 20.0, &mut room);
    let n = tokio::time::timeout(Duration::from_secs(30), keeping).await??;
    println!("{n} readings, {:.2?} from each to its answer", start.elapsed() / n);
    Ok(())
}
