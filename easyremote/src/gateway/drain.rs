//! Graceful shutdown: ends a gateway without failing calls.
//!
//! ```text
//!            drain            quiet, or grace nearly over       no calls, no clients
//!   serving -------> draining --------------------> leaving ------------------------> ended
//!                       ^                              |        or: grace is over
//!                       +------------------------------+
//!                           calls are left after 2 s
//! ```
//!
//! **Draining.** Clients with another gateway switch to it. Clients without one stay, and their
//! calls are served, so that long calls in flight do not delay anyone. They start nothing that
//! takes long, because otherwise the gateway would never become quiet: streams wait at the client,
//! and so do calls of functions that are known to be slow, whose names it is told.
//!
//! **Quiet.** A gateway is quiet if all calls that were in flight at some moment ended within
//! [`SHORT`]. New calls may keep arriving: each generation of calls is counted separately.
//!
//! **Leaving.** Clients are disconnected, and no peer is admitted. Clients start no more calls here
//! and close their connections after their last calls, which are short. So no call that has started
//! is aborted, and none is lost in transit. If a call turns out to be long after all, clients are
//! admitted again until it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::call::deadline::{passes, within};

/// Progress of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DrainStage {
    #[default]
    Serving,
    /// Peers with another gateway should switch to it.
    Draining,
    /// All peers should disconnect.
    Leaving,
}

/// The state that clients are told.
#[derive(Clone, Debug, Default)]
pub(super) struct DrainNews {
    pub(super) stage: DrainStage,
    /// Functions whose calls take long, sorted.
    pub(super) slow: Arc<[String]>,
}

/// Shutdown state of a gateway: the stage, and counters of what it waits for.
#[derive(Debug)]
pub(super) struct Drain {
    news: watch::Sender<DrainNews>,
    /// Whether a drain has begun, so that tokens must notify `less`.
    drains: AtomicBool,
    ends: watch::Sender<Option<DrainEnds>>,
    /// Index into `open` of the counter for calls that start now.
    generation: AtomicUsize,
    /// Calls in flight: those of the current generation, and those of the previous one.
    open: [AtomicU64; 2],
    /// Clients, and whether more may come: see [`OVER`].
    clients: AtomicU64,
    /// Notified when a counter may have reached 0.
    less: Notify,
}

/// Deadlines of a drain.
#[derive(Clone, Copy, Debug)]
struct DrainEnds {
    /// From here on clients must leave, so that no new call is aborted at `end`.
    last_moment: Instant,
    end: Instant,
}

/// Calls that end within this time do not hold up a drain.
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// Set in the number of clients once the drain is complete. No client is counted from then on.
const OVER: u64 = 1 << 63;

/// How long clients are turned away while calls are left.
const LEAVING: Duration = Duration::from_secs(2);

/// Counts a call or a client until it is dropped.
#[derive(Debug)]
pub(super) struct DrainToken(Arc<Drain>, TokenKind);

#[derive(Clone, Copy, Debug)]
enum TokenKind {
    Client,
    /// With its generation, an index into `open`.
    Call(usize),
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            news: watch::Sender::default(),
            drains: AtomicBool::new(false),
            ends: watch::Sender::default(),
            generation: AtomicUsize::new(0),
            open: Default::default(),
            clients: AtomicU64::new(0),
            less: Notify::new(),
        }
    }
}

impl Drain {
    /// Counts a client; `None` if the drain is complete, so that the gateway ends at once.
    ///
    /// Of a client that another thread admits while the drain completes, either the drain knows, or
    /// its calls do not start.
    pub(super) fn client(self: &Arc<Self>) -> Option<DrainToken> {
        let next = |clients| (clients & OVER == 0).then(|| clients + 1);
        self.clients.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next).ok()?;
        Some(DrainToken(self.clone(), TokenKind::Client))
    }

    /// Counts a call that starts.
    pub(super) fn call(self: &Arc<Self>) -> DrainToken {
        loop {
            let generation = self.generation.load(Ordering::SeqCst);
            self.open[generation].fetch_add(1, Ordering::SeqCst);
            let token = DrainToken(self.clone(), TokenKind::Call(generation));
            // Another thread may have started the next generation in between, and may have found
            // the counter at 0 already. If it has not, it sees this call: all accesses are
            // `SeqCst`, and it reads the counter after it has changed the generation.
            if self.generation.load(Ordering::SeqCst) == generation {
                return token;
            }
        }
    }

    pub(super) fn stage(&self) -> DrainStage {
        self.news.borrow().stage
    }

    /// Subscribes to changes, on behalf of a client's session.
    pub(super) fn news(&self) -> watch::Receiver<DrainNews> {
        self.news.subscribe()
    }

    /// Starts to drain for at most `grace`; replaces an earlier deadline.
    pub(super) fn begin(&self, grace: Duration, now: Instant) {
        let end = now + grace;
        self.ends.send_replace(Some(DrainEnds { last_moment: end - SHORT.min(grace / 4), end }));
    }

    /// Waits until a drain begins, and then until it is complete or the grace period is over.
    /// `slow` returns the functions whose calls take long. Cancel safe.
    pub(super) async fn run(&self, slow: impl Fn() -> Arc<[String]>) {
        let tell = |stage| drop(self.news.send_replace(DrainNews { stage, slow: slow() }));
        // Cannot fail: `self` holds the sender.
        let _ = self.ends.subscribe().wait_for(Option::is_some).await;
        self.drains.store(true, Ordering::SeqCst);
        let last_moment = self.passes(|ends| ends.last_moment);
        let end = self.passes(|ends| ends.end);
        tokio::pin!(last_moment, end);
        loop {
            // Draining and leaving alternate until a round of leaving ends without calls.
            tell(DrainStage::Draining);
            let is_last = tokio::select! {
                () = self.is_quiet(|| tell(DrainStage::Draining)) => false,
                () = &mut last_moment => true,
            };
            tell(DrainStage::Leaving);
            let limit = (!is_last).then(|| Instant::now() + LEAVING);
            tokio::select! {
                left = within(limit, self.until(|drain| drain.n_calls() + drain.n_clients() == 0)) => {
                    // Zero clients stay zero: see `client`.
                    if left.is_ok() && self.is_over() {
                        return;
                    }
                    // A client that has not left by now but has no calls loses nothing.
                    if left.is_err() && self.n_calls() == 0 {
                        return;
                    }
                }
                () = &mut end => {
                    let (calls, clients) = (self.n_calls(), self.n_clients());
                    tracing::warn!(calls, clients, "drain grace period expired, aborting calls");
                    return;
                }
            }
        }
    }

    /// Waits until a deadline in [`DrainEnds`], which may be moved meanwhile.
    async fn passes(&self, time: impl Fn(&DrainEnds) -> Instant) {
        let mut ends = self.ends.subscribe();
        loop {
            let at = ends.borrow_and_update().as_ref().map(&time);
            tokio::select! {
                () = passes(at) => return,
                // Cannot fail: `self` holds the sender.
                _ = ends.changed() => {}
            }
        }
    }

    /// Waits until all calls in flight at some moment have ended within [`SHORT`]. While they have
    /// not, `tell` announces more slow functions.
    async fn is_quiet(&self, tell: impl Fn()) {
        loop {
            let before = self.generation.load(Ordering::SeqCst);
            // The counter of the next generation is 0, but for calls that are about to notice that
            // they are of this one: this loop waits below until the old generation has ended, and
            // both counters start at 0.
            self.generation.store(1 - before, Ordering::SeqCst);
            let over = self.until(|drain| drain.open[before].load(Ordering::SeqCst) == 0);
            tokio::pin!(over);
            if timeout(SHORT, &mut over).await.is_ok() {
                return;
            }
            tell();
            over.await;
            tell();
        }
    }

    async fn until(&self, done: impl Fn(&Self) -> bool) {
        loop {
            // Create the future before the check, so that no notification is missed.
            let less = self.less.notified();
            if done(self) {
                return;
            }
            less.await;
        }
    }

    /// Admits no more clients, if there are none. Returns whether there are none.
    fn is_over(&self) -> bool {
        self.clients.compare_exchange(0, OVER, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    fn n_calls(&self) -> u64 {
        self.open.iter().map(|open| open.load(Ordering::SeqCst)).sum()
    }

    fn n_clients(&self) -> u64 {
        self.clients.load(Ordering::SeqCst) & !OVER
    }
}

impl Drop for DrainToken {
    fn drop(&mut self) {
        let Self(drain, kind) = self;
        let counter = match kind {
            TokenKind::Client => &drain.clients,
            TokenKind::Call(generation) => &drain.open[*generation],
        };
        // All accesses are `SeqCst`: either this load sees that a drain has begun, and notifies it,
        // or the check in `until` comes later and sees the decrement.
        if counter.fetch_sub(1, Ordering::SeqCst) == 1 && drain.drains.load(Ordering::SeqCst) {
            drain.less.notify_waiters();
        }
    }
}
