//! A stream as its consumer saw it: the items, and when each arrived.

use std::time::{Duration, Instant};

use futures::{Stream, StreamExt};

use crate::Failure;
use crate::scenarios::{Seen, ensure};

/// All items of a stream, in the order of their arrival.
#[derive(Debug)]
pub(super) struct Received<T> {
    pub(super) items: Vec<T>,
    /// When each arrived, since the call.
    arrivals: Vec<Duration>,
}

impl<T> Received<T> {
    /// Reads `stream` to its end.
    pub(super) async fn all(stream: impl Stream<Item = T>) -> Self {
        let started = Instant::now();
        let timed = stream.map(|item| (item, started.elapsed()));
        let (items, arrivals) = timed.unzip().await;
        Self { items, arrivals }
    }

    pub(super) fn first_arrival(&self) -> Option<Duration> {
        self.arrivals.first().copied()
    }

    pub(super) fn last_arrival(&self) -> Option<Duration> {
        self.arrivals.last().copied()
    }

    /// Checks that the items arrived as they were produced, not together at the end. `produced` is
    /// the time of an item's production, in seconds, on any clock.
    pub(super) fn ensure_live(&self, produced: impl Fn(&T) -> f64) -> Result<(), Failure> {
        let (Some(first), Some(last)) = (self.items.first(), self.items.last()) else {
            return Err("no item has come".into());
        };
        let production = produced(last) - produced(first);
        let came = self.first_arrival().unwrap_or_default().as_secs_f64();
        // Production began after the call, so this proves that the first item came before the last
        // one was produced, however slow the machine is and whatever the clocks say.
        ensure!(
            came < production,
            "the first item came {came:.3} s after the call, and production took {production:.3} s"
        );
        // Not all: when the machine pauses, some arrive together.
        let typical = production / (self.items.len() - 1) as f64;
        let gaps = self.arrivals.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64());
        let apart = gaps.filter(|gap| *gap > typical / 2.0).count();
        ensure!(apart >= 2, "items come together: {:.1?}", self.arrivals);
        Ok(())
    }

    /// Returns the measurements. The order is kept if the items' `number` counts up from 1.
    pub(super) fn seen(&self, number: impl Fn(&T) -> u64) -> Seen {
        let order_kept = self.items.iter().map(number).eq(1..=self.items.len() as u64);
        Seen {
            first_item: self.first_arrival(),
            order_kept: Some(order_kept),
            note: format!("{} items", self.items.len()),
        }
    }
}

impl<T, E> Received<Result<T, E>>
where
    Failure: From<E>,
{
    /// Returns the items; an error fails the scenario.
    pub(super) fn ok(self) -> Result<Received<T>, Failure> {
        let items = self.items.into_iter().collect::<Result<_, _>>()?;
        Ok(Received { items, arrivals: self.arrivals })
    }
}
