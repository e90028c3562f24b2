//! Cached streams of a campaign: several readers of one call, which come and read at different times.

use std::time::Duration;

use fastrand::Rng;
use futures::{StreamExt, future};
use tokio::time::sleep;

use crate::calls::{Caller, Outcome, Plan, Seen};
use crate::functions::items;

/// What one reader has seen.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    /// Whether it subscribed before the call was made.
    pub(crate) is_early: bool,
    pub(crate) items: Vec<u64>,
    /// How many items it has lost because it was slow, when it got the last one.
    pub(crate) missed: u64,
    /// How the stream ended for it; `Dropped` until then.
    pub(crate) outcome: Outcome,
}

/// Items that a reader that comes later begins with.
const KEPT: usize = 8;

/// Reads one stream to its end, as often as the plan says.
pub(crate) async fn share(plan: &Plan, caller: &Caller, seen: &mut Seen) -> Outcome {
    let mut rng = Rng::with_seed(plan.id);
    let id = plan.id;
    let cached = items::call(&caller.client, id, plan.size).cached(KEPT);
    let n = rng.usize(1..5);
    seen.readers = (0..n)
        .map(|number| Reader {
            is_early: number == 0 || rng.bool(),
            items: Vec::new(),
            missed: 0,
            outcome: Outcome::Dropped,
        })
        .collect();
    let reading = seen.readers.iter_mut().map(|reader| {
        let late = Duration::from_millis(rng.u64(..50));
        // Some lose items.
        let pause = rng.bool().then(|| Duration::from_millis(rng.u64(..20)));
        let early = reader.is_early.then(|| cached.subscribe());
        let cached = cached.clone();
        async move {
            let mut items = match early {
                Some(items) => items,
                None => {
                    sleep(late).await;
                    cached.subscribe()
                }
            };
            reader.outcome = loop {
                let next = items.next().await;
                // All readers are polled by one task, so that no item comes between the two.
                reader.missed = items.missed();
                match next {
                    Some(Ok(item)) if item.0 == id => reader.items.push(item.1),
                    Some(Ok(item)) => {
                        break Outcome::Wrong(format!("{item:?} is not an item of {id}"));
                    }
                    Some(Err(error)) => break Outcome::failed(&error),
                    None => break Outcome::Answered,
                }
                if let Some(pause) = pause {
                    sleep(pause).await;
                }
            };
        }
    });
    future::join_all(reading).await;
    Outcome::Answered
}
