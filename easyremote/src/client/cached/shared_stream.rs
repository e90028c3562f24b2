//! One stream that feeds many readers.
//!
//! There is no task behind it: each reader that finds nothing new polls the source itself, and the
//! source wakes all readers that wait. So no reader depends on another one to go on polling: one
//! that is dropped, or never polled again, does not delay the others.
//!
//! ```text
//!            taken to be polled, without the lock
//!   Ready ----------------------------------------> Out
//!     ^                                              |
//!     +---- an item, or pending; then wake the ------+---> Over: ended, or panicked
//!           readers that found it out
//! ```
//!
//! A reader registers its waker while it holds the state's lock, and an item is added under the
//! same lock before wakers are taken: none is missed. If the source wakes while it is being polled,
//! [`Wakers::woken`] says so, and the readers are woken again once it is back.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures::Stream;
use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};

/// A stream that feeds all readers. With each result comes whether it was the last one.
pub(super) type StreamSource<T, E> = Pin<Box<dyn Stream<Item = (Result<T, E>, bool)> + Send>>;

/// Creates the source, each time that a first reader comes.
pub(super) type SourceFactory<T, E> = Box<dyn FnMut() -> StreamSource<T, E> + Send>;

type SharedResult<T, E> = Result<Arc<T>, Arc<E>>;

/// Results that are held for readers that are behind, in addition to those that are kept for new
/// ones: enough for a reader that is awake to be scheduled before it loses one.
const BEHIND: usize = 64;

/// How often the source is left alone for the sake of awake readers that are about to lose results,
/// per half of [`BEHIND`], in addition to twice per reader.
const PATIENCE: usize = 64;

/// One stream that feeds many readers.
pub(super) struct SharedStream<T, E> {
    state: Mutex<SharedState<T, E>>,
    wakers: Arc<Wakers>,
    /// Wakes `wakers`; what the source is polled with.
    waker: Waker,
}

struct SharedState<T, E> {
    factory: SourceFactory<T, E>,
    source: SourceSlot<T, E>,
    /// The last results, the oldest first.
    held: VecDeque<HeldResult<T, E>>,
    /// The number of the first of them, counted from the beginning.
    first: u64,
    /// How many results a new reader begins with.
    keep: usize,
    n_readers: usize,
    next_reader: u64,
    /// How often the source may still be left alone.
    patience: usize,
    /// Results since `patience` was set.
    since: usize,
    /// How the source has ended.
    end: Option<SourceEnd<E>>,
}

struct HeldResult<T, E> {
    result: SharedResult<T, E>,
    /// Readers that have not taken it.
    readers: usize,
}

#[derive(Default)]
enum SourceSlot<T, E> {
    /// No call has been made, or its last reader has left.
    #[default]
    Idle,
    Ready(StreamSource<T, E>),
    /// A reader polls it.
    Out,
    Over,
}

enum SourceEnd<E> {
    Finished,
    Failed(Arc<E>),
}

/// The wakers of the readers that wait. Separate from the results, which a waker must not require
/// to be `Send`.
#[derive(Default)]
struct Wakers(Mutex<WakerTable>);

#[derive(Default)]
struct WakerTable {
    waiting: HashMap<u64, Waker>,
    /// Whether the source has woken since it was polled last.
    woken: bool,
}

/// A reader's place.
#[derive(Debug)]
pub(super) struct ReaderPlace {
    id: u64,
    /// The number of the result that it takes next.
    next: u64,
    missed: u64,
    /// Whether it has had the error that ended the stream.
    told: bool,
}

impl<T, E: From<Error>> SharedStream<T, E> {
    pub(super) fn new(keep: usize, factory: SourceFactory<T, E>) -> Self {
        let wakers = Arc::new(Wakers::default());
        let waker = Waker::from(wakers.clone());
        let state = SharedState {
            factory,
            source: SourceSlot::Idle,
            held: VecDeque::new(),
            first: 0,
            keep,
            n_readers: 0,
            next_reader: 0,
            patience: 0,
            since: 0,
            end: None,
        };
        Self { state: Mutex::new(state), wakers, waker }
    }

    /// Adds a reader, which begins with the last results that are kept.
    pub(super) fn join(&self) -> ReaderPlace {
        let mut state = self.state.lock();
        let (id, kept) = (state.next_reader, state.keep.min(state.held.len()));
        state.next_reader += 1;
        state.n_readers += 1;
        let skipped = state.held.len() - kept;
        state.held.iter_mut().skip(skipped).for_each(|held| held.readers += 1);
        ReaderPlace { id, next: state.first + skipped as u64, missed: 0, told: false }
    }

    /// Removes a reader. With the last one the source is dropped, unless it has ended.
    pub(super) fn leave(&self, place: &ReaderPlace) {
        let mut state = self.state.lock();
        self.wakers.0.lock().waiting.remove(&place.id);
        state.n_readers -= 1;
        let taken = place.next.saturating_sub(state.first) as usize;
        state.held.iter_mut().skip(taken).for_each(|held| held.readers -= 1);
        let mut dropped = (VecDeque::new(), SourceSlot::Idle);
        if state.n_readers == 0 && state.end.is_none() {
            state.first += state.held.len() as u64;
            dropped = (std::mem::take(&mut state.held), std::mem::take(&mut state.source));
        } else {
            state.trim(&mut dropped.0);
        }
        // Values and streams of the user are dropped without the lock.
        drop(state);
        drop(dropped);
    }

    /// Returns how many results the reader has lost because it was slow.
    pub(super) fn missed(&self, place: &ReaderPlace) -> u64 {
        place.missed + self.state.lock().first.saturating_sub(place.next)
    }

    /// Polls for the reader's next result; polls the source if there is none.
    pub(super) fn poll(
        &self,
        place: &mut ReaderPlace,
        context: &mut Context<'_>,
    ) -> Poll<Option<SharedResult<T, E>>> {
        loop {
            let mut source = {
                let mut dropped = VecDeque::new();
                let mut state = self.state.lock();
                if let Some(result) = state.take(place, &mut dropped) {
                    drop(state);
                    return Poll::Ready(Some(result));
                }
                match &state.end {
                    Some(SourceEnd::Failed(error)) if !place.told => {
                        place.told = true;
                        return Poll::Ready(Some(Err(error.clone())));
                    }
                    Some(_) => return Poll::Ready(None),
                    None => {}
                }
                if state.spares_others() {
                    drop(state);
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match std::mem::replace(&mut state.source, SourceSlot::Out) {
                    SourceSlot::Idle => (state.factory)(),
                    SourceSlot::Ready(source) => source,
                    // Under the state's lock: the reader that polls the source wakes this one when
                    // it has put it back.
                    slot @ (SourceSlot::Out | SourceSlot::Over) => {
                        state.source = slot;
                        self.wakers.wait(place.id, context.waker());
                        return Poll::Pending;
                    }
                }
            };
            self.wakers.0.lock().woken = false;
            let guard = PollGuard { shared: self };
            let polled = source.as_mut().poll_next(&mut Context::from_waker(&self.waker));
            std::mem::forget(guard);
            if self.put_back(source, polled, place, context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Puts the source back, with the result of polling it.
    fn put_back(
        &self,
        source: StreamSource<T, E>,
        polled: Poll<Option<(Result<T, E>, bool)>>,
        place: &ReaderPlace,
        context: &Context<'_>,
    ) -> Poll<()> {
        let mut dropped = VecDeque::new();
        let mut over = None;
        let mut state = self.state.lock();
        match polled {
            Poll::Pending => {
                state.source = SourceSlot::Ready(source);
                let woken = self.wakers.wait(place.id, context.waker());
                drop(state);
                if woken {
                    // Somebody has to poll it again: this reader, or one that saw it out.
                    self.wakers.wake_all();
                }
                return Poll::Pending;
            }
            Poll::Ready(Some((Err(error), true))) => {
                state.finish(SourceEnd::Failed(Arc::new(error)));
                over = Some(source);
            }
            Poll::Ready(Some((result, _))) => {
                state.add(result.map(Arc::new).map_err(Arc::new), &mut dropped);
                state.source = SourceSlot::Ready(source);
            }
            Poll::Ready(None) => {
                state.finish(SourceEnd::Finished);
                over = Some(source);
            }
        }
        drop(state);
        drop((dropped, over));
        self.wakers.wake_all();
        Poll::Ready(())
    }
}

/// Ends the stream if polling its source panics: the source cannot be polled again.
struct PollGuard<'a, T, E: From<Error>> {
    shared: &'a SharedStream<T, E>,
}

impl<T, E: From<Error>> Drop for PollGuard<'_, T, E> {
    fn drop(&mut self) {
        let text = "the cached stream panicked while one of its readers polled it";
        let error = Error::new(ErrorKind::BadResponse, text);
        self.shared.state.lock().finish(SourceEnd::Failed(Arc::new(error.into())));
        self.shared.wakers.wake_all();
    }
}

impl<T, E> SharedState<T, E> {
    /// Takes the reader's next result, if it is here.
    fn take(
        &mut self,
        place: &mut ReaderPlace,
        dropped: &mut VecDeque<HeldResult<T, E>>,
    ) -> Option<SharedResult<T, E>> {
        let lost = self.first.saturating_sub(place.next);
        place.missed += lost;
        place.next += lost;
        let held = self.held.get_mut((place.next - self.first) as usize)?;
        held.readers -= 1;
        place.next += 1;
        let result = held.result.clone();
        self.trim(dropped);
        Some(result)
    }

    fn add(&mut self, result: SharedResult<T, E>, dropped: &mut VecDeque<HeldResult<T, E>>) {
        self.held.push_back(HeldResult { result, readers: self.n_readers });
        self.since += 1;
        if self.since > BEHIND / 2 {
            self.since = 0;
            self.patience = PATIENCE + 2 * self.n_readers;
        }
        while self.held.len() > self.limit() {
            dropped.extend(self.held.pop_front());
            self.first += 1;
        }
    }

    /// Releases the results that are not kept for new readers, and that all readers have taken.
    fn trim(&mut self, dropped: &mut VecDeque<HeldResult<T, E>>) {
        while self.held.len() > self.keep && self.held.front().is_some_and(|it| it.readers == 0) {
            dropped.extend(self.held.pop_front());
            self.first += 1;
        }
    }

    /// Returns whether the source is left alone now, because its next result would push one out that
    /// a reader has not taken. Readers that are awake take it meanwhile.
    fn spares_others(&mut self) -> bool {
        let is_full = self.held.len() >= self.limit();
        if !is_full || self.held.front().is_none_or(|held| held.readers == 0) {
            return false;
        }
        let spares = self.patience > 0;
        self.patience = self.patience.saturating_sub(1);
        spares
    }

    /// The largest number of results that are held.
    fn limit(&self) -> usize {
        self.keep.saturating_add(BEHIND)
    }

    fn finish(&mut self, end: SourceEnd<E>) {
        self.source = SourceSlot::Over;
        self.end = Some(end);
    }
}

impl Wakers {
    /// Makes a reader wait. Returns whether the source has woken since it was polled last.
    fn wait(&self, reader: u64, waker: &Waker) -> bool {
        let mut table = self.0.lock();
        table.waiting.insert(reader, waker.clone());
        table.woken
    }

    fn wake_all(&self) {
        let waiting = std::mem::take(&mut self.0.lock().waiting);
        waiting.into_values().for_each(Waker::wake);
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.lock().woken = true;
        self.wake_all();
    }
}

#[cfg(test)]
mod tests;
