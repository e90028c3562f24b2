//! How a gateway ends without failing calls.
//!
//! ```text
//!             drain              quiet, or the grace is nearly over          no calls, no clients
//!   serving --------> draining --------------------------------> leaving ----------------------> ended
//!                        ^                                          |          or: the grace is over
//!                        +------------------------------------------+
//!                                    calls are left after 2 s
//! ```
//!
//! **Draining.** Clients with another gateway go there. Those without stay, and their calls are
//! served: what is long under way makes nobody wait. They begin nothing that lasts, or the gateway
//! would never be quiet: streams wait at the client, and so do calls of functions that take long as
//! far as is known, whose names it is told.
//!
//! **Quiet** is a gateway that had no call at some moment that was not over within
//! [`SHORT`] of it. Calls may come all the time: those of each moment are counted apart.
//!
//! **Leaving.** Clients are sent away, and nobody is let in. They begin nothing more here, and close
//! their connections after their last calls, which are short ones. So no call is cut off that has
//! been begun, and none is lost on its way. If one turns out to be long after all, the clients are
//! let in again until it is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::call::deadline::{passes, within};

/// How far a gateway's end has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DrainStage {
    #[default]
    Serving,
    /// Whoever can is to go elsewhere.
    Draining,
    /// Everybody is to go.
    Leaving,
}

/// What clients are told.
#[derive(Clone, Debug, Default)]
pub(super) struct DrainNews {
    pub(super) stage: DrainStage,
    /// The functions whose calls take long, in order.
    pub(super) slow: Arc<[String]>,
}

/// What a gateway knows of its own end.
#[derive(Debug)]
pub(super) struct Drain {
    news: watch::Sender<DrainNews>,
    /// Whether anybody waits for `less`.
    drains: AtomicBool,
    ends: watch::Sender<Option<DrainEnds>>,
    /// Which of `open` counts the calls that begin now.
    generation: AtomicUsize,
    /// Calls that are open: those of this generation, and those of the one before.
    open: [AtomicU64; 2],
    clients: AtomicU64,
    /// Notified when one of the counters may be 0.
    less: Notify,
}

/// When a gateway that drains stops waiting.
#[derive(Clone, Copy, Debug)]
struct DrainEnds {
    /// It is about to end: new calls must not be cut off.
    last_moment: Instant,
    end: Instant,
}

/// Calls that take no longer hold nobody up.
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// How long clients are sent away while calls are left.
const LEAVING: Duration = Duration::from_secs(2);

/// A call or a client, which counts until this is dropped.
#[derive(Debug)]
pub(super) struct DrainToken(Arc<Drain>, TokenKind);

#[derive(Clone, Copy, Debug)]
enum TokenKind {
    Client,
    /// Its generation.
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
    /// Counts a client.
    pub(super) fn client(self: &Arc<Self>) -> DrainToken {
        self.clients.fetch_add(1, Ordering::SeqCst);
        DrainToken(self.clone(), TokenKind::Client)
    }

    /// Counts a call that begins.
    pub(super) fn call(self: &Arc<Self>) -> DrainToken {
        let generation = self.generation.load(Ordering::SeqCst);
        self.open[generation].fetch_add(1, Ordering::SeqCst);
        DrainToken(self.clone(), TokenKind::Call(generation))
    }

    pub(super) fn stage(&self) -> DrainStage {
        self.news.borrow().stage
    }

    /// For whoever tells a client.
    pub(super) fn news(&self) -> watch::Receiver<DrainNews> {
        self.news.subscribe()
    }

    /// Drains from now on, for at most `grace`; in place of what was said before.
    pub(super) fn begin(&self, grace: Duration, now: Instant) {
        let end = now + grace;
        self.ends.send_replace(Some(DrainEnds { last_moment: end - SHORT.min(grace / 4), end }));
    }

    /// Waits until it is to drain, and then until that is done, or the grace is over. `slow` finds the
    /// functions whose calls take long. Cancel safe.
    pub(super) async fn run(&self, slow: impl Fn() -> Arc<[String]>) {
        let tell = |stage| drop(self.news.send_replace(DrainNews { stage, slow: slow() }));
        // The sender is in `self`.
        let _ = self.ends.subscribe().wait_for(Option::is_some).await;
        self.drains.store(true, Ordering::SeqCst);
        let last_moment = self.passes(|ends| ends.last_moment);
        let end = self.passes(|ends| ends.end);
        tokio::pin!(last_moment, end);
        loop {
            tell(DrainStage::Draining);
            let is_last = tokio::select! {
                () = self.is_quiet(|| tell(DrainStage::Draining)) => false,
                () = &mut last_moment => true,
            };
            tell(DrainStage::Leaving);
            let limit = (!is_last).then(|| Instant::now() + LEAVING);
            tokio::select! {
                left = within(limit, self.until(|drain| drain.n_calls() + drain.n_clients() == 0)) => {
                    // Whoever has not left by now and has no calls has nothing to lose.
                    if left.is_ok() || self.n_calls() == 0 {
                        return;
                    }
                }
                () = &mut end => {
                    let (calls, clients) = (self.n_calls(), self.n_clients());
                    tracing::warn!(calls, clients, "calls are cut off: the grace is over");
                    return;
                }
            }
        }
    }

    /// Resolves at a time of [`DrainEnds`], which may be moved meanwhile.
    async fn passes(&self, time: impl Fn(&DrainEnds) -> Instant) {
        let mut ends = self.ends.subscribe();
        loop {
            let at = ends.borrow_and_update().as_ref().map(&time);
            tokio::select! {
                () = passes(at) => return,
                // The sender is in `self`.
                _ = ends.changed() => {}
            }
        }
    }

    /// Waits until the calls of one moment were over soon. As long as they are not, `tell` tells more
    /// of which take long.
    async fn is_quiet(&self, tell: impl Fn()) {
        loop {
            let before = self.generation.load(Ordering::SeqCst);
            // Nothing is left of the generation before: see below, and `open` is 0 at the start.
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
            // Before the look, so that no news is missed.
            let less = self.less.notified();
            if done(self) {
                return;
            }
            less.await;
        }
    }

    fn n_calls(&self) -> u64 {
        self.open.iter().map(|open| open.load(Ordering::SeqCst)).sum()
    }

    fn n_clients(&self) -> u64 {
        self.clients.load(Ordering::SeqCst)
    }
}

impl Drop for DrainToken {
    fn drop(&mut self) {
        let Self(drain, kind) = self;
        let counter = match kind {
            TokenKind::Client => &drain.clients,
            TokenKind::Call(generation) => &drain.open[*generation],
        };
        if counter.fetch_sub(1, Ordering::SeqCst) == 1 && drain.drains.load(Ordering::SeqCst) {
            drain.less.notify_waiters();
        }
    }
}
