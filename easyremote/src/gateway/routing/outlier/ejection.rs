//! The state of an ejection: whether a node is avoided for a function, and until when.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::outlier::window::{CallWindow, SharedWindow};

/// Recent outcomes of one function at one node, and whether the node is avoided for it.
///
/// ```text
///            fails more than others             time is over
///  in use ───────────────────────────► avoided ──────────────► probing
///    ▲                                    ▲                     │   │
///    │                                    └── one fails: twice ─┘   │
///    └──────────────── three calls succeed ──────────────────────────┘
/// ```
///
/// Recording calls and taking probes is lock-free. The other transitions happen under the router's
/// lock, because they update the number of avoided nodes of the function.
#[derive(Debug, Default)]
pub(crate) struct EjectionState {
    window: SharedWindow,
    /// 0 while the node is in use. Otherwise the end of the ejection in milliseconds of the
    /// router's clock, shifted left by [`PROBE_BITS`], plus the number of probes handed out since
    /// then.
    word: AtomicU64,
    /// Probes that succeeded since the last ejection.
    succeeded: AtomicU32,
    /// Consecutive ejections before the current one.
    earlier: AtomicU32,
    /// When the last ejection ended successfully, in milliseconds; 0 if none has.
    restored_ms: AtomicU64,
}

/// Which calls of a function a node may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Any call.
    InUse,
    /// None while another node can run it.
    Avoided,
    /// A probe, to find out whether the node works again.
    Probing,
}

/// Successes that end an ejection, and the number of calls at risk when its time is over.
const PROBES: u64 = 3;

const PROBE_BITS: u32 = 8;

impl EjectionState {
    /// Records the outcome of a call, and returns the updated window.
    pub(crate) fn record(&self, failed: bool) -> CallWindow {
        self.window.push(failed)
    }

    pub(crate) fn window(&self) -> CallWindow {
        self.window.get()
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.word.load(Ordering::Acquire) != 0
    }

    /// Returns what the node may get at `now`.
    pub(crate) fn standing(&self, now: Duration, options: &OutlierOptions) -> Standing {
        match self.word.load(Ordering::Acquire) {
            0 => Standing::InUse,
            word if next_probe(word, millis(now), options).is_some() => Standing::Probing,
            _ => Standing::Avoided,
        }
    }

    /// Takes a probe; returns false if other calls have taken all of them.
    pub(crate) fn take_probe(&self, now: Duration, options: &OutlierOptions) -> bool {
        let next = |word| next_probe(word, millis(now), options);
        self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }

    /// Records that a probe succeeded; returns whether enough of them have.
    pub(crate) fn probe_succeeded(&self) -> bool {
        u64::from(self.succeeded.fetch_add(1, Ordering::AcqRel)) + 1 >= PROBES
    }

    /// Starts an ejection, or extends it because a probe failed. Call under the router's lock.
    pub(crate) fn eject(&self, now: Duration, options: &OutlierOptions) {
        let again = self.is_ejected();
        let restored = self.restored_ms.load(Ordering::Relaxed);
        // The back-off starts over once a node has worked for the time of the longest ejection.
        let recent = millis(now).saturating_sub(restored) < millis(options.max_ejection);
        let earlier = match self.earlier.load(Ordering::Relaxed) {
            earlier if again || (restored > 0 && recent) => earlier.saturating_add(1),
            _ => 0,
        };
        self.earlier.store(earlier, Ordering::Relaxed);
        self.succeeded.store(0, Ordering::Release);
        let until = now + options.ejection_time(earlier);
        self.word.store(millis(until).max(1) << PROBE_BITS, Ordering::Release);
    }

    /// Returns when the ejection ends, or ended if probes are outstanding; zero while the node is
    /// in use.
    pub(crate) fn end(&self) -> Duration {
        Duration::from_millis(self.word.load(Ordering::Acquire) >> PROBE_BITS)
    }

    /// Cancels an ejection because the node is needed. Call under the router's lock.
    pub(crate) fn cancel(&self) {
        self.word.store(0, Ordering::Release);
    }

    /// Ends the ejection and clears the recorded outcomes. Call under the router's lock.
    pub(crate) fn restore(&self, now: Duration) {
        self.window.clear();
        self.restored_ms.store(millis(now).max(1), Ordering::Relaxed);
        self.word.store(0, Ordering::Release);
    }
}

/// Returns `word` with one more probe handed out; `None` if no probe is available at `now`.
///
/// The outcome of a probe may never arrive: its caller may cancel it, or it may be a stream that
/// runs for a day. New probes are therefore available after another `base_ejection`.
fn next_probe(word: u64, now: u64, options: &OutlierOptions) -> Option<u64> {
    let (until, given) = (word >> PROBE_BITS, word & ((1 << PROBE_BITS) - 1));
    if word == 0 || now < until {
        None
    } else if given < PROBES {
        Some(word + 1)
    } else if now >= until + millis(options.base_ejection) {
        Some(now << PROBE_BITS | 1)
    } else {
        None
    }
}

fn millis(time: Duration) -> u64 {
    time.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn an_ejected_node_gets_probes_when_its_time_is_over() {
        let (state, options) = (EjectionState::default(), OutlierOptions::new());
        let start = 100 * SECOND;
        assert_eq!(state.standing(start, &options), Standing::InUse);
        assert!(!state.take_probe(start, &options));
        state.eject(start, &options);
        assert_eq!(state.standing(start + ms(999), &options), Standing::Avoided);
        let over = start + SECOND;
        for _ in 0..3 {
            assert_eq!(state.standing(over, &options), Standing::Probing);
            assert!(state.take_probe(over, &options));
        }
        assert_eq!(state.standing(over, &options), Standing::Avoided, "all are given out");
        assert!(!state.take_probe(over, &options));
        assert!(state.take_probe(over + SECOND, &options), "their callers may have left");
        assert!(!state.probe_succeeded() && !state.probe_succeeded());
        assert!(state.probe_succeeded());
        state.restore(over);
        assert_eq!(state.standing(over, &options), Standing::InUse);
    }

    #[test]
    fn failed_probes_double_the_time() {
        let (state, options) = (EjectionState::default(), OutlierOptions::new());
        let mut now = 100 * SECOND;
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            state.eject(now, &options);
            now += seconds * SECOND;
            assert_eq!(state.standing(now - ms(1), &options), Standing::Avoided);
            assert_eq!(state.standing(now, &options), Standing::Probing);
        }
        state.restore(now);
        state.eject(now + 29 * SECOND, &options);
        assert_eq!(state.standing(now + 58 * SECOND, &options), Standing::Avoided, "soon again");
        state.restore(now);
        state.eject(now + 30 * SECOND, &options);
        assert_eq!(state.standing(now + 31 * SECOND, &options), Standing::Probing);
    }
}
