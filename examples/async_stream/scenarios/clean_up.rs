//! Clean-up: streams that a caller drops stop at the node.

use std::time::{Duration, Instant};

use easyremote::Client;
use futures::{Stream, StreamExt};
use tokio::time::{sleep, timeout};

use crate::Failure;
use crate::functions::endless::{endless_alive, endless_iterator, endless_stream};
use crate::scenarios::{Outcome, Seen, ensure};

/// Longest time that a dropped stream may go on.
const LONGEST: Duration = Duration::from_secs(5);
const INTERVAL: f64 = 0.01;

/// Endless streams, async and sync, stop soon after they are dropped.
pub(super) async fn abandoned(client: Client) -> Outcome {
    let before = endless_alive::call(&client).await?;
    let stream = endless_stream::call(&client, INTERVAL);
    let (first_item, stream_stopped) = abandon(&client, before, stream).await?;
    let iterator = endless_iterator::call(&client, INTERVAL);
    let (_, iterator_stopped) = abandon(&client, before, iterator).await?;
    Ok(Seen {
        first_item: Some(first_item),
        order_kept: Some(true),
        note: format!("gone after {stream_stopped:.1?} (async), {iterator_stopped:.1?} (sync)"),
    })
}

/// Reads a few items of `stream`, drops it, and waits until only `before` of its kind are alive.
/// Returns the time to the first item, and the time from the drop until it was seen to have
/// stopped.
async fn abandon(
    client: &Client,
    before: u64,
    mut stream: impl Stream<Item = Result<u64, easyremote::Error>> + Unpin,
) -> Result<(Duration, Duration), Failure> {
    let called = Instant::now();
    let mut first_item = None;
    for expected in 0..5 {
        let item = stream.next().await.ok_or("an endless stream has ended")??;
        first_item.get_or_insert_with(|| called.elapsed());
        ensure!(item == expected, "item {item} instead of {expected}");
    }
    let alive = endless_alive::call(client).await?;
    ensure!(alive == before + 1, "{alive} streams are alive instead of {}", before + 1);
    drop(stream);
    let dropped = Instant::now();
    let stopped = async {
        while endless_alive::call(client).await? > before {
            sleep(Duration::from_millis(5)).await;
        }
        Ok::<_, easyremote::Error>(())
    };
    timeout(LONGEST, stopped).await.map_err(|_| format!("it is alive after {LONGEST:?}"))??;
    Ok((first_item.unwrap_or_default(), dropped.elapsed()))
}
