//! Outlier detection: a node at which the calls of a function keep failing is avoided for a while.
//!
//! # Source
//! The failure-percentage ejection of gRPC proposal
//! [A50](https://github.com/grpc/proposal/blob/master/A50-xds-outlier-detection.md), which follows
//! Envoy. A gateway sees every call of a function, so some parts differ:
//!
//! | A50                                       | here                                           |
//! |-------------------------------------------|------------------------------------------------|
//! | judges all addresses every 10 s           | judges a node when a call fails there          |
//! | per address                               | per node and function                          |
//! | counts the calls of the last interval     | counts the last 63 calls                       |
//! | compares with a fixed percentage          | compares with the other nodes as well          |
//! | minimum number of calls, 50 by default    | that, and a bound on the chance of coincidence |
//! | a node is back in full after its ejection | it gets three probes first                     |
//! | ejection time grows linearly              | it doubles                                     |
//!
//! The comparison matters because failures are often caused by the callers of a function: if all
//! nodes fail equally often, avoiding one of them only reduces the capacity.

mod ejection;
mod window;

use std::time::Duration;

pub(crate) use crate::gateway::routing::outlier::ejection::{EjectionState, Standing};
pub(crate) use crate::gateway::routing::outlier::window::CallWindow;

/// When a gateway avoids a node at which the calls of a function keep failing.
///
/// A call counts as failed if its function returns an error or panics, if the node is lost, or if
/// the node does not answer properly. Cancelled calls, missed deadlines and wrong arguments do not
/// count.
///
/// A node is avoided for a function if all of these hold for its recent calls of that function:
///
/// - at least [`min_calls`](Self::min_calls) were made;
/// - at least [`failure_percent`](Self::failure_percent) of them failed;
/// - they failed more than twice as often as at the other nodes of the function;
/// - that is too often to be a coincidence.
///
/// An avoided node gets no calls of the function while another node can run them, now or later.
/// Calls that name the node with `on` still reach it. When the ejection time is over, the node gets
/// three calls as probes: one failure doubles the time, three successes end the ejection.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::gateway::OutlierOptions;
/// use easyremote::Gateway;
///
/// let outliers = OutlierOptions::new().min_calls(10).base_ejection(Duration::from_secs(5));
/// let _gateway = Gateway::builder("127.0.0.1:0").outliers(outliers);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "options do nothing until a builder takes them"]
pub struct OutlierOptions {
    pub(crate) enabled: bool,
    pub(crate) min_calls: u32,
    pub(crate) failure_percent: u8,
    pub(crate) base_ejection: Duration,
    pub(crate) max_ejection: Duration,
    pub(crate) max_ejected_percent: u8,
}

impl Default for OutlierOptions {
    fn default() -> Self {
        Self {
            enabled: true,
            min_calls: 5,
            failure_percent: 50,
            base_ejection: Duration::from_secs(1),
            max_ejection: Duration::from_secs(30),
            max_ejected_percent: 50,
        }
    }
}

impl OutlierOptions {
    /// Creates the default options: avoidance is on.
    ///
    /// ```
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// assert_eq!(OutlierOptions::new(), OutlierOptions::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Disables avoidance: no node is avoided, however often its calls fail.
    ///
    /// ```
    /// use easyremote::Gateway;
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let builder = Gateway::builder("127.0.0.1:0").outliers(OutlierOptions::off());
    /// # let _ = builder;
    /// ```
    #[doc(alias = "disable")]
    pub fn off() -> Self {
        Self { enabled: false, ..Self::default() }
    }

    /// Sets the minimum number of calls of a function after which a node is judged; 1 to 63, 5 by
    /// default. Values outside are clamped.
    ///
    /// ```
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let outliers = OutlierOptions::new().min_calls(20);
    /// ```
    pub fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls.clamp(1, CallWindow::CAPACITY);
        self
    }

    /// Sets the minimum share of failed calls for which a node is avoided; 1 to 100 percent, 50 by
    /// default. Values outside are clamped.
    ///
    /// ```
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let outliers = OutlierOptions::new().failure_percent(80);
    /// ```
    #[doc(alias = "threshold")]
    pub fn failure_percent(mut self, percent: u8) -> Self {
        self.failure_percent = percent.clamp(1, 100);
        self
    }

    /// Sets the time for which a node is avoided at first; 1 s by default, 1 ms to 24 h. Each
    /// failed probe doubles it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let outliers = OutlierOptions::new().base_ejection(Duration::from_secs(5));
    /// ```
    #[doc(alias = "cooldown")]
    pub fn base_ejection(mut self, time: Duration) -> Self {
        self.base_ejection = time.clamp(Duration::from_millis(1), LONGEST_EJECTION);
        self
    }

    /// Sets the longest time for which a node is avoided; 30 s by default, at most 24 h. A value
    /// below [`base_ejection`](Self::base_ejection) has the effect of that one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let outliers = OutlierOptions::new().max_ejection(Duration::from_secs(120));
    /// ```
    pub fn max_ejection(mut self, time: Duration) -> Self {
        self.max_ejection = time.min(LONGEST_EJECTION);
        self
    }

    /// Sets how many of a function's nodes may be avoided at the same time, in percent, rounded
    /// down; 0 to 100, 50 by default.
    ///
    /// ```
    /// use easyremote::gateway::OutlierOptions;
    ///
    /// let outliers = OutlierOptions::new().max_ejected_percent(25);
    /// ```
    pub fn max_ejected_percent(mut self, percent: u8) -> Self {
        self.max_ejected_percent = percent.min(100);
        self
    }

    /// Returns how many of a function's `nodes` may be avoided at the same time.
    pub(crate) fn max_ejected(&self, nodes: usize) -> usize {
        nodes * usize::from(self.max_ejected_percent) / 100
    }

    /// Returns the length of an ejection after `earlier` consecutive ones.
    pub(crate) fn ejection_time(&self, earlier: u32) -> Duration {
        let longest = self.max_ejection.max(self.base_ejection);
        self.base_ejection.saturating_mul(1 << earlier.min(20)).min(longest)
    }

    /// Returns whether a node with the calls `own` fails too often, compared with the windows of
    /// the `others`.
    pub(crate) fn is_outlier(&self, own: CallWindow, others: &[CallWindow]) -> bool {
        if !self.may_be_outlier(own) {
            return false;
        }
        self.suffixes(own).any(|(calls, failures)| {
            let often = failures * 100 >= calls * u32::from(self.failure_percent);
            // Without a comparison these may be failures of the function rather than of the node.
            let Some(usual) = usual_rate(others, calls).filter(|_| often) else { return false };
            let rate = f64::from(failures) / f64::from(calls);
            usual < rate / 2.0 && f64::from(calls) * divergence(rate, usual) >= EVIDENCE
        })
    }

    /// Returns whether the conditions hold that do not depend on other nodes.
    pub(crate) fn may_be_outlier(&self, own: CallWindow) -> bool {
        let often = |(calls, failures)| failures * 100 >= calls * u32::from(self.failure_percent);
        self.enabled && own.n_calls() >= self.min_calls && self.suffixes(own).any(often)
    }

    /// Returns calls and failures among the last `min_calls` calls, the last twice as many, and so
    /// on. A node that has just broken shows in the shortest suffix, one that fails intermittently
    /// in the longest.
    fn suffixes(&self, own: CallWindow) -> impl Iterator<Item = (u32, u32)> {
        let longest = own.n_calls();
        let next = move |calls: &u32| (*calls < longest).then(|| (calls * 2).min(longest));
        std::iter::successors(Some(self.min_calls.min(longest)), next)
            .map(move |calls| (calls, own.n_failures(calls)))
    }
}

/// Longest time that an option accepts: a day, so that sums do not overflow.
const LONGEST_EJECTION: Duration = Duration::from_secs(24 * 3_600);

/// Required improbability of a false positive: by Chernoff's bound one in e^14, which is about a
/// million. Every failed call is a test, so a lower bound would be exceeded by chance.
const EVIDENCE: f64 = 14.0;

/// Estimates the failure rate of a sound node from the other nodes; `None` if they had no calls.
///
/// This is the lower median, which stays the rate of a sound node while up to half of the others
/// fail. Each node counts with its whole window or with its last `calls` calls, whichever is worse:
/// if a shared dependency breaks, all nodes start to fail at about the same time, while their
/// windows are still full of successes.
fn usual_rate(others: &[CallWindow], calls: u32) -> Option<f64> {
    let rate = |other: &CallWindow| {
        let lately = calls.min(other.n_calls());
        let recent = f64::from(other.n_failures(lately)) / f64::from(lately);
        other.likely_rate().max(recent)
    };
    let mut rates: Vec<f64> = others.iter().filter(|it| it.n_calls() > 0).map(rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len().checked_sub(1)? / 2).copied()
}

/// Returns the Kullback-Leibler divergence of two rates. By Chernoff's bound, `n` calls that fail
/// with probability `usual` fail at a rate of `rate` or more with probability at most
/// `exp(-n * divergence)`.
fn divergence(rate: f64, usual: f64) -> f64 {
    let term = |p: f64, q: f64| if p > 0.0 { p * (p / q).ln() } else { 0.0 };
    term(rate, usual) + term(1.0 - rate, 1.0 - usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(failures: u32, successes: u32) -> CallWindow {
        let successes = (0..successes).map(|_| false);
        successes.chain((0..failures).map(|_| true)).fold(CallWindow::default(), CallWindow::with)
    }

    #[test]
    fn a_node_that_fails_where_others_succeed_is_an_outlier() {
        let options = OutlierOptions::new();
        let good = [window(0, 40), window(0, 63), window(1, 50)];
        assert!(!options.is_outlier(window(4, 0), &good), "fewer than five calls");
        assert!(options.is_outlier(window(5, 0), &good));
        assert!(options.is_outlier(window(5, 58), &good), "a good node has become bad");
        assert!(!options.is_outlier(window(2, 3), &good), "less than half");
        assert!(!options.is_outlier(window(63, 0), &[]), "no other node");
        assert!(!options.is_outlier(window(63, 0), &[window(0, 0)]), "no call at another");
        assert!(options.is_outlier(window(12, 12), &[window(0, 63)]), "every other call");
        assert!(!OutlierOptions::off().is_outlier(window(63, 0), &good));
    }

    #[test]
    fn a_node_like_the_others_is_none() {
        let options = OutlierOptions::new();
        for failures in [13, 32, 38, 63] {
            let all = window(failures, 63 - failures);
            assert!(!options.is_outlier(all, &[all; 3]), "{failures} of 63");
        }
        assert!(!options.is_outlier(window(63, 0), &[window(32, 31); 3]), "half its rate at least");
        // A shared dependency breaks.
        assert!(!options.is_outlier(window(5, 58), &[window(4, 59); 3]));
    }

    #[test]
    fn two_bad_nodes_of_four_are_both_outliers() {
        let (bad, good) = (window(63, 0), window(0, 63));
        assert!(OutlierOptions::new().is_outlier(bad, &[bad, good, good]));
        assert!(!OutlierOptions::new().is_outlier(bad, &[bad, bad, good]), "most of them fail");
    }

    #[test]
    fn accidents_happen_too_rarely_to_matter() {
        let options = OutlierOptions::new();
        for (seed, percent) in [(1, 20), (2, 40), (3, 60), (4, 90)] {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut windows = [CallWindow::default(); 4];
            for call in 0..50_000 {
                let node = rng.usize(..4);
                windows[node] = windows[node].with(rng.u32(..100) < percent);
                let others: Vec<_> = (0..4).filter(|i| *i != node).map(|i| windows[i]).collect();
                assert!(!options.is_outlier(windows[node], &others), "{percent} % at {call}");
            }
        }
    }

    #[test]
    fn ejections_double_up_to_a_limit() {
        let options = OutlierOptions::new();
        let seconds: Vec<u64> = (0..7).map(|n| options.ejection_time(n).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        let options = options.max_ejection(Duration::ZERO);
        assert_eq!(options.ejection_time(9), Duration::from_secs(1));
        let nodes: Vec<usize> = (0..6).map(|nodes| options.max_ejected(nodes)).collect();
        assert_eq!(nodes, [0, 0, 1, 1, 2, 2]);
    }
}
