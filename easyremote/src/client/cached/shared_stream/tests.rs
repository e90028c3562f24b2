use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fastrand::Rng;

use super::*;

/// What the source returns, in order: results, and whether it ends.
#[derive(Default)]
struct Fed {
    results: VecDeque<Option<(Result<u64, Error>, bool)>>,
    waker: Option<Waker>,
    /// Sources that exist, and sources that have been made.
    alive: usize,
    made: usize,
}

type Feed = Arc<Mutex<Fed>>;

struct FedSource(Feed);

impl Stream for FedSource {
    type Item = (Result<u64, Error>, bool);

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut fed = self.0.lock();
        match fed.results.pop_front() {
            Some(next) => Poll::Ready(next),
            None => {
                fed.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for FedSource {
    fn drop(&mut self) {
        self.0.lock().alive -= 1;
    }
}

fn shared(keep: usize) -> (SharedStream<u64, Error>, Feed) {
    let feed = Feed::default();
    let fed = feed.clone();
    let factory = move || -> StreamSource<u64, Error> {
        let mut now = fed.lock();
        now.alive += 1;
        now.made += 1;
        Box::pin(FedSource(fed.clone()))
    };
    (SharedStream::new(keep, Box::new(factory)), feed)
}

/// Feeds the source, and wakes it.
fn feed(feed: &Feed, next: Option<(Result<u64, Error>, bool)>) {
    let waker = {
        let mut fed = feed.lock();
        fed.results.push_back(next);
        fed.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Puts its reader in line when it is woken.
struct ReaderWaker {
    id: usize,
    line: Arc<Mutex<VecDeque<usize>>>,
    is_in_line: AtomicBool,
}

impl Wake for ReaderWaker {
    fn wake(self: Arc<Self>) {
        if !self.is_in_line.swap(true, Ordering::Relaxed) {
            self.line.lock().push_back(self.id);
        }
    }
}

struct ModelReader {
    place: ReaderPlace,
    waker: Arc<ReaderWaker>,
    /// The number that it has to get next, unless it has missed some.
    next: u64,
    missed: u64,
    is_slow: bool,
    ended: Option<bool>,
}

/// Readers on an executor that polls them in the order in which they were woken.
struct Model {
    shared: SharedStream<u64, Error>,
    readers: HashMap<usize, ModelReader>,
    line: Arc<Mutex<VecDeque<usize>>>,
    n_joined: usize,
    keep: usize,
    /// Whether some readers were polled more often than others that were awake.
    is_unfair: bool,
}

impl Model {
    fn join(&mut self, is_slow: bool) {
        let id = self.n_joined;
        self.n_joined += 1;
        let place = self.shared.join();
        let waker = ReaderWaker { id, line: self.line.clone(), is_in_line: AtomicBool::new(false) };
        let (next, waker) = (place.next, Arc::new(waker));
        waker.clone().wake();
        let reader = ModelReader { place, waker, next, missed: 0, is_slow, ended: None };
        self.readers.insert(id, reader);
    }

    fn leave(&mut self, id: usize) {
        let reader = self.readers.remove(&id).unwrap();
        self.shared.leave(&reader.place);
    }

    /// Polls one reader until it waits, as a task does. Its results are numbers in order.
    fn poll(&mut self, id: usize) {
        let Some(reader) = self.readers.get_mut(&id) else { return };
        reader.waker.is_in_line.store(false, Ordering::Relaxed);
        let waker = Waker::from(reader.waker.clone());
        let mut context = Context::from_waker(&waker);
        loop {
            match self.shared.poll(&mut reader.place, &mut context) {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(number))) => {
                    reader.missed = self.shared.missed(&reader.place);
                    assert_eq!(reader.ended, None);
                    assert!(*number >= reader.next, "{number} after {}", reader.next);
                    reader.next = *number + 1;
                }
                Poll::Ready(Some(Err(error))) => {
                    assert_eq!((error.kind(), reader.ended), (ErrorKind::NodeLost, None));
                    reader.ended = Some(false);
                }
                Poll::Ready(None) => {
                    reader.ended.get_or_insert(true);
                    return;
                }
            }
        }
    }

    /// Polls all readers that were woken and are not slow, until none is.
    fn run(&mut self) {
        let mut polls = 0;
        loop {
            let woken = self.line.lock().pop_front();
            let Some(id) = woken else { return };
            match self.readers.get(&id) {
                Some(reader) if reader.is_slow => {
                    reader.waker.is_in_line.store(false, Ordering::Relaxed);
                }
                _ => self.poll(id),
            }
            polls += 1;
            assert!(polls < 1_000_000, "the readers keep each other busy");
        }
    }
}

#[test]
fn readers_that_come_go_and_sleep_hold_up_nobody_and_lose_nothing_unseen() {
    for seed in 0..150 {
        let mut random = Rng::with_seed(seed);
        let keep = [0, 1, 5, 100][random.usize(..4)];
        let (shared, source) = shared(keep);
        let mut model = Model {
            shared,
            readers: HashMap::new(),
            line: Arc::default(),
            n_joined: 0,
            keep,
            is_unfair: false,
        };
        let mut fed = 0;
        for _ in 0..random.usize(1..120) {
            let ids: Vec<usize> = model.readers.keys().copied().collect();
            match random.u32(..10) {
                0..=2 => model.join(random.u32(..4) == 0),
                3 if !ids.is_empty() => {
                    // Also one that has just been woken, or that has polled the source last.
                    model.leave(ids[random.usize(..ids.len())]);
                    if model.readers.is_empty() {
                        assert_eq!(source.lock().alive, 0, "the last one cancels");
                        // The results that the call has not returned are lost with it.
                        source.lock().results.clear();
                        fed = model.shared.state.lock().first;
                    }
                }
                4 if !ids.is_empty() => {
                    model.is_unfair = true;
                    model.poll(ids[random.usize(..ids.len())]);
                }
                5..=7 => {
                    // Without a reader there is no call, and so no result.
                    if source.lock().alive > 0 {
                        for _ in 0..random.usize(1..300) {
                            feed(&source, Some((Ok(fed), false)));
                            fed += 1;
                        }
                    }
                }
                _ => {
                    model.run();
                    check(&model, fed, seed);
                }
            }
        }
        finish(model, &source, fed, seed);
    }
}

/// Checks that every reader that is not slow has had everything, and lost nothing on the way if all
/// had their turn.
fn check(model: &Model, fed: u64, seed: u64) {
    let held = model.shared.state.lock().held.len();
    assert!(held <= model.keep + BEHIND, "seed {seed}: {held} are held");
    for reader in model.readers.values().filter(|reader| !reader.is_slow) {
        assert_eq!(reader.next, fed, "seed {seed}");
        assert!(reader.missed == 0 || model.is_unfair, "seed {seed}: {} are lost", reader.missed);
    }
}

/// Ends the source, and lets all readers read to the end, also slow and late ones.
fn finish(mut model: Model, source: &Feed, fed: u64, seed: u64) {
    let well = seed.is_multiple_of(2);
    model.join(false);
    model.run();
    check(&model, fed, seed);
    let lost = || Error::new(ErrorKind::NodeLost, "lost");
    feed(source, if well { None } else { Some((Err(lost()), true)) });
    model.run();
    assert_eq!(source.lock().alive, 0, "what has ended is dropped");
    model.readers.values_mut().for_each(|reader| reader.is_slow = false);
    let (made, ids) = (source.lock().made, model.readers.keys().copied().collect::<Vec<_>>());
    ids.into_iter().for_each(|id| model.poll(id));
    model.join(false);
    model.run();
    for reader in model.readers.values() {
        assert_eq!((reader.next, reader.ended), (fed, Some(well)), "seed {seed}");
    }
    assert_eq!(source.lock().made, made, "what has ended is not called again");
}

#[test]
fn what_is_lost_is_counted_exactly() {
    for keep in [0, 10, 200] {
        let (shared, source) = shared(keep);
        let (mut slow, mut quick) = (shared.join(), shared.join());
        let mut context = Context::from_waker(Waker::noop());
        for number in 0..1_000 {
            feed(&source, Some((Ok(number), false)));
        }
        // Without an executor that polls others the quick one is spared sometimes.
        let mut taken = 0;
        while taken < 1_000 {
            if let Poll::Ready(next) = shared.poll(&mut quick, &mut context) {
                assert_eq!(*next.unwrap().unwrap(), taken);
                taken += 1;
            }
        }
        let held = (keep + BEHIND) as u64;
        assert_eq!((shared.missed(&slow), shared.missed(&quick)), (1_000 - held, 0));
        for number in 1_000 - held..1_000 {
            let Poll::Ready(next) = shared.poll(&mut slow, &mut context) else { panic!() };
            assert_eq!(*next.unwrap().unwrap(), number);
        }
        assert_eq!(shared.missed(&slow), 1_000 - held);
        assert!(shared.poll(&mut slow, &mut context).is_pending());
        assert_eq!(shared.state.lock().held.len(), keep.min(1_000), "the rest is released");
    }
}

#[test]
fn a_source_that_panics_ends_all_readers_with_an_error() {
    let factory = || -> StreamSource<u64, Error> {
        Box::pin(futures::stream::poll_fn(|_| panic!("decoding failed")))
    };
    let shared = SharedStream::new(3, Box::new(factory));
    let (mut one, mut two) = (shared.join(), shared.join());
    let mut context = Context::from_waker(Waker::noop());
    let polled = std::panic::AssertUnwindSafe(|| shared.poll(&mut one, &mut context));
    assert!(std::panic::catch_unwind(polled).is_err());
    for place in [&mut one, &mut two] {
        let Poll::Ready(Some(Err(error))) = shared.poll(place, &mut context) else { panic!() };
        assert_eq!(error.kind(), ErrorKind::BadResponse);
        assert!(matches!(shared.poll(place, &mut context), Poll::Ready(None)));
    }
}

#[test]
fn readers_on_threads_share_one_source() {
    let (shared, source) = shared(2_000);
    let (shared, awake) = (Arc::new(shared), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for reader in 0..8 {
            let (shared, awake) = (shared.clone(), &awake);
            scope.spawn(move || {
                let mut place = shared.join();
                awake.fetch_add(1, Ordering::Relaxed);
                let numbers = futures::stream::poll_fn(|context| shared.poll(&mut place, context));
                // Some leave early, in the middle of driving the source.
                let take = if reader % 2 == 0 { 2_000 } else { reader * 100 };
                let numbers = futures::StreamExt::take(numbers, take);
                let numbers: Vec<_> = pollster::block_on(futures::StreamExt::collect(numbers));
                assert_eq!(numbers.len(), take);
                let right = |(n, number): (usize, &SharedResult<u64, Error>)| {
                    matches!(number, Ok(number) if **number == n as u64)
                };
                assert!(numbers.iter().enumerate().all(right));
                shared.leave(&place);
            });
        }
        while awake.load(Ordering::Relaxed) < 8 {
            std::thread::yield_now();
        }
        for number in 0..2_000 {
            feed(&source, Some((Ok(number), false)));
        }
        feed(&source, None);
    });
    assert_eq!(source.lock().made, 1);
}
