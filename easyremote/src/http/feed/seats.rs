//! How many may read the feed at a time.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};

/// Maximum number of readers. Each may keep a state that it has not read to its end.
const MAX_READERS: usize = 16;

/// A reader that has not read for this long makes room for another: the machine of a browser that
/// has been put to sleep keeps its connection.
const IDLE: Duration = Duration::from_secs(10);

/// When told to come back, a reader that found no seat.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// The readers, each with when it asked for events last.
#[derive(Debug, Default)]
pub(super) struct Seats {
    taken: Mutex<SeatList>,
}

#[derive(Debug, Default)]
struct SeatList {
    next: u64,
    asked: Vec<(u64, Instant)>,
}

/// The seat of a reader; dropping it frees it.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Arc<Seats>,
    number: u64,
}

impl Seats {
    /// Takes a seat, if need be that of a reader that does not read.
    ///
    /// # Errors
    /// `Overloaded` if all are in use.
    pub(super) fn take(self: &Arc<Self>) -> Result<Seat, Error> {
        let mut list = self.taken.lock();
        let now = Instant::now();
        if list.asked.len() >= MAX_READERS {
            let idle = list.asked.iter().enumerate().min_by_key(|(_, (_, asked))| *asked);
            match idle {
                Some((at, (_, asked))) if now - *asked >= IDLE => drop(list.asked.remove(at)),
                _ => {
                    let text = format!("{MAX_READERS} others read the feed of this gateway");
                    let error = Error::new(ErrorKind::Overloaded, text);
                    return Err(error.with_retry_after(RETRY_AFTER));
                }
            }
        }
        list.next += 1;
        let number = list.next;
        list.asked.push((number, now));
        Ok(Seat { seats: self.clone(), number })
    }
}

impl Seat {
    /// Notes that the reader asks for events.
    pub(super) fn note_asked(&self) {
        let mut list = self.seats.taken.lock();
        if let Some((_, asked)) = list.asked.iter_mut().find(|(number, _)| *number == self.number) {
            *asked = Instant::now();
        }
    }

    /// Returns whether another reader has taken it.
    pub(super) fn is_lost(&self) -> bool {
        !self.seats.taken.lock().asked.iter().any(|(number, _)| *number == self.number)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().asked.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_does_not_read_loses_its_seat_to_another() {
        let seats = Arc::new(Seats::default());
        let mut taken: Vec<_> = (0..MAX_READERS).map(|_| seats.take().unwrap()).collect();
        let refused = seats.take().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Overloaded);
        drop(taken.pop());
        taken.push(seats.take().unwrap());
        tokio::time::advance(IDLE).await;
        taken.iter().skip(1).for_each(Seat::note_asked);
        let late = seats.take().unwrap();
        assert!(taken[0].is_lost() && !taken[1].is_lost() && !late.is_lost());
        seats.take().unwrap_err();
        // The seat is not its own any more.
        drop(taken.remove(0));
        assert!(!late.is_lost());
        seats.take().unwrap_err();
    }
}
