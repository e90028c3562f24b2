//! Failover of one call between the gateways of a client that has several.
//!
//! A *round* asks each gateway once, in the order of the list, until one has a node. What follows a
//! round in which all of them have refused depends on whether the call waits:
//!
//! ```text
//!   ask the next gateway --refused--> others left? --yes--> ask the next gateway
//!                                          | no
//!                                          v
//!                        waits for a node? --yes--> pause, then another round
//!                                          | no
//!                                          v
//!                                        error
//! ```
//!
//! In the first round no gateway holds the call, so that a node at the last one is found at once.
//! From the second round on each gateway holds it for a [`share`] of the wait.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Executed};

/// Which gateways have refused a call, and what comes next.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// Whether the call waits for a node until its deadline. Gateways are not told so: from the
    /// second round on each of them holds the call for a limited time, then the next one gets it.
    waits: bool,
    /// Until when it waits otherwise, because a lost node or gateway may come back.
    patient_until: Option<Instant>,
    /// The gateways that have refused it in this round, in this order.
    tried: Vec<usize>,
    /// The most informative refusal of this round.
    refusal: Option<Error>,
    /// Rounds that have ended without a node, and were followed by another one.
    rounds: u32,
    /// Whether a whole round has ended without a node.
    asked_all: bool,
    /// Whether the next attempt goes to a gateway that has not been tried in this round.
    elsewhere: bool,
    /// Attempts that followed a refusal, which do not count as retries.
    attempts: u64,
}

/// What follows a round in which all gateways have refused a call.
#[derive(Debug)]
pub(super) enum RoundEnd {
    /// Another round.
    Next,
    /// The call fails with this error.
    Refused(Error),
}

impl Detour {
    /// Creates the detour of a call; `waits` if it waits for a node until its deadline.
    pub(super) fn new(waits: bool) -> Self {
        Self { waits, ..Self::default() }
    }

    /// Begins anew with another kind of attempt, which `waits` for a node or does not.
    pub(super) fn begin_anew(&mut self, waits: bool) {
        *self = Self { attempts: self.attempts, ..Self::new(waits) };
    }

    /// Returns the number of attempts that followed a refusal. None of them was a retry.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Counts another attempt that follows a refusal.
    pub(super) fn note_attempt(&mut self) {
        self.attempts += 1;
    }

    pub(super) fn tried(&self) -> &[usize] {
        &self.tried
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Starts a wait of `patience` for lost nodes and gateways to come back, unless one has begun
    /// before.
    pub(super) fn wait_for_others(&mut self, patience: Duration) {
        if !patience.is_zero() {
            self.patient_until.get_or_insert(Instant::now() + patience);
        }
    }

    /// Returns how long the next gateway holds the call for a node. `patience` is the wait for lost
    /// nodes and gateways to come back.
    pub(super) fn share(&mut self, patience: Duration) -> Duration {
        self.wait_for_others(patience);
        share(self.waits, patience, self.rounds)
    }

    /// Records that `gateway` has refused the call with `error`.
    pub(super) fn note_refusal(&mut self, gateway: usize, error: Error) {
        self.tried.push(gateway);
        // `NoSuchFunction` tells least: that gateway has never had a node with the function.
        let better = |old: &Error| {
            old.kind() == ErrorKind::NoSuchFunction && error.kind() != ErrorKind::NoSuchFunction
        };
        if self.refusal.as_ref().is_none_or(better) {
            self.refusal = Some(error);
        }
    }

    pub(super) fn has_asked_all(&self) -> bool {
        self.asked_all
    }

    /// Sends the next attempt to another gateway.
    pub(super) fn go_elsewhere(&mut self) {
        self.elsewhere = true;
    }

    /// Returns whether the next attempt goes to another gateway, and resets that.
    pub(super) fn goes_elsewhere(&mut self) -> bool {
        std::mem::take(&mut self.elsewhere)
    }

    /// Ends a round: no other gateway can be asked. Returns what follows.
    pub(super) fn end_round(&mut self) -> RoundEnd {
        let asked = self.tried.len();
        self.tried.clear();
        self.asked_all = true;
        let Some(refusal) = self.refusal.take() else { return RoundEnd::Next };
        let waits = self.waits || self.patient_until.is_some_and(|until| Instant::now() < until);
        if waits && is_waited_for(refusal.kind()) {
            self.rounds += 1;
            return RoundEnd::Next;
        }
        RoundEnd::Refused(match asked {
            0 | 1 => {
                refusal.with_more(format_args!("no other gateway of this client could be reached"))
            }
            _ => refusal.with_more(format_args!("{asked} gateways of this client were asked")),
        })
    }
}

/// Returns how long one gateway holds a call for a node: not at all in the first round.
pub(super) fn share(waits: bool, patience: Duration, rounds: u32) -> Duration {
    /// Short at first, so that a node that registers at another gateway is found soon.
    const SHARE: Duration = Duration::from_secs(1);
    /// Doubles with each round up to 4 s, so that a call that waits long costs little.
    const DOUBLINGS: u32 = 2;
    let Some(again) = rounds.checked_sub(1) else { return Duration::ZERO };
    let share = SHARE * (1 << again.min(DOUBLINGS));
    if waits { share } else { share.min(patience) }
}

/// Returns whether an error means that a gateway has no node for the call, while another gateway
/// may have one.
pub(super) fn is_refusal(error: &Error) -> bool {
    use ErrorKind::{Overloaded, Unavailable};
    let kind = error.kind();
    // An overloaded node is the same node at every gateway.
    let refused = is_waited_for(kind)
        || kind == Unavailable
        || (kind == Overloaded && error.node().is_none());
    refused && error.executed() == Executed::No
}

/// Returns whether a gateway that refuses with this kind may have a node later.
pub(super) fn is_waited_for(kind: ErrorKind) -> bool {
    use ErrorKind::{Draining, NoNode, NoSuchFunction, NodeLost, SignatureMismatch};
    matches!(kind, NoSuchFunction | NoNode | SignatureMismatch | Draining | NodeLost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(kind: ErrorKind) -> Error {
        Error::new(kind, "no")
    }

    #[test]
    fn a_call_ends_with_the_refusal_that_tells_most() {
        use ErrorKind::*;
        let ends = |kinds: &[ErrorKind]| {
            let mut detour = Detour::new(false);
            for (gateway, kind) in kinds.iter().enumerate() {
                detour.note_refusal(gateway, refusal(*kind));
            }
            match detour.end_round() {
                RoundEnd::Refused(error) => (error.kind(), error.to_string()),
                RoundEnd::Next => panic!("the call does not wait"),
            }
        };
        assert_eq!(ends(&[NoSuchFunction, NoNode]).0, NoNode);
        assert_eq!(ends(&[NoNode, NoSuchFunction]).0, NoNode);
        assert_eq!(ends(&[NoSuchFunction, SignatureMismatch]).0, SignatureMismatch);
        assert_eq!(ends(&[Overloaded, NoNode]).0, Overloaded);
        assert_eq!(ends(&[NoNode, NoNode]).1, "no; 2 gateways of this client were asked");
        assert_eq!(ends(&[NoNode]).1, "no; no other gateway of this client could be reached");
    }

    #[test]
    fn who_waits_goes_round_and_asks_less_and_less_often() {
        let mut detour = Detour::new(true);
        let mut shares = Vec::new();
        for _ in 0..5 {
            shares.push(detour.share(Duration::ZERO).as_secs());
            detour.note_refusal(0, refusal(ErrorKind::NoNode));
            assert!(matches!(detour.end_round(), RoundEnd::Next));
            assert!(detour.tried().is_empty());
        }
        assert_eq!(shares, [0, 1, 2, 4, 4]);
        // A gateway would not have waited for that.
        detour.note_refusal(0, refusal(ErrorKind::Overloaded));
        assert!(matches!(detour.end_round(), RoundEnd::Refused(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let mut detour = Detour::new(false);
        assert_eq!(detour.share(Duration::ZERO), Duration::ZERO);
        assert_eq!(detour.share(Duration::from_millis(300)), Duration::ZERO);
        detour.note_refusal(0, refusal(ErrorKind::NoNode));
        assert!(matches!(detour.end_round(), RoundEnd::Next));
        assert_eq!(detour.share(Duration::from_millis(300)), Duration::from_millis(300));
        tokio::time::advance(Duration::from_millis(300)).await;
        detour.note_refusal(0, refusal(ErrorKind::NoNode));
        assert!(matches!(detour.end_round(), RoundEnd::Refused(_)));
    }

    #[test]
    fn only_what_did_not_start_is_asked_elsewhere() {
        use ErrorKind::*;
        for &kind in ErrorKind::ALL {
            let refused = is_refusal(&refusal(kind));
            let kinds = [
                NoSuchFunction,
                NoNode,
                SignatureMismatch,
                Draining,
                NodeLost,
                Unavailable,
                Overloaded,
            ];
            assert_eq!(refused, kinds.contains(&kind), "{kind:?}");
            for executed in [Executed::Maybe, Executed::Yes] {
                assert!(!is_refusal(&refusal(kind).with_executed(executed)), "{kind:?}");
            }
        }
        assert!(!is_refusal(&refusal(Overloaded).with_node("a")));
    }
}
