//! Who reads which stream that may continue.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::wire::header::CallId;

/// The readers of streams that continue. A stream has one at a time: whoever asks last.
#[derive(Debug, Default)]
pub(super) struct StreamReaders(Mutex<Places>);

#[derive(Debug, Default)]
struct Places {
    /// By the call of the stream, with a number that tells one reader from the next.
    readers: HashMap<CallId, (u64, CancellationToken)>,
    entered: u64,
}

/// The place of a reader, until this is dropped.
#[derive(Debug)]
pub(super) struct ReaderSeat {
    readers: Arc<StreamReaders>,
    call: CallId,
    number: u64,
    /// Cancelled when another reader takes the place.
    pub(super) replaced: CancellationToken,
}

impl StreamReaders {
    /// Takes the place of the reader of a stream.
    pub(super) fn enter(self: &Arc<Self>, call: CallId) -> ReaderSeat {
        let replaced = CancellationToken::new();
        let mut places = self.0.lock();
        places.entered += 1;
        let number = places.entered;
        if let Some((_, before)) = places.readers.insert(call, (number, replaced.clone())) {
            before.cancel();
        }
        ReaderSeat { readers: self.clone(), call, number, replaced }
    }
}

impl Drop for ReaderSeat {
    fn drop(&mut self) {
        let mut places = self.readers.0.lock();
        if places.readers.get(&self.call).is_some_and(|(number, _)| *number == self.number) {
            places.readers.remove(&self.call);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_last_reads() {
        let readers = Arc::<StreamReaders>::default();
        let first = readers.enter([1; 16]);
        let other = readers.enter([2; 16]);
        let second = readers.enter([1; 16]);
        assert!(first.replaced.is_cancelled() && !second.replaced.is_cancelled());
        drop(first);
        let third = readers.enter([1; 16]);
        assert!(second.replaced.is_cancelled() && !third.replaced.is_cancelled());
        drop((second, third));
        assert!(!other.replaced.is_cancelled());
        drop(other);
        assert!(readers.0.lock().readers.is_empty());
    }
}
