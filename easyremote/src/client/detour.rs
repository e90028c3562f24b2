//! A call's way through the gateways of a client that has several: each that has no node for it is
//! followed by the next.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Executed};

/// Which gateways have refused a call, and what comes next.
#[derive(Debug, Default)]
pub(super) struct Detour {
    /// The call waits for a node until its deadline. No gateway is told so: when all have been asked,
    /// each waits for a while, and then it is the next one's turn.
    waits: bool,
    /// How long it waits otherwise, because who was lost may come back.
    patient_until: Option<Instant>,
    /// Those that have refused it in this round, in this order.
    tried: Vec<usize>,
    /// What tells most about why.
    refusal: Option<Error>,
    /// How often all have refused it, and it has waited for more.
    rounds: u32,
    /// Whether all have refused it at some time.
    asked_all: bool,
    /// Whether the next attempt goes to another gateway than those that were tried.
    elsewhere: bool,
    /// Attempts that were made because a gateway had refused the call.
    attempts: u64,
}

/// What comes after a round in which all gateways have refused a call.
#[derive(Debug)]
pub(super) enum RoundEnd {
    /// Another round.
    Next,
    /// The end: this is why.
    Refused(Error),
}

impl Detour {
    /// For a call that waits for a node, or does not.
    pub(super) fn new(waits: bool) -> Self {
        Self { waits, ..Self::default() }
    }

    /// Attempts that were made because a gateway had refused the call: none of them was a retry.
    pub(super) fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Notes that another attempt is made because a gateway has refused the call.
    pub(super) fn note_attempt(&mut self) {
        self.attempts += 1;
    }

    pub(super) fn tried(&self) -> &[usize] {
        &self.tried
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds
    }

    /// Notes that the call waits `patience` from now on for those who may come back, unless that has
    /// begun before.
    pub(super) fn wait_for_others(&mut self, patience: Duration) {
        if !patience.is_zero() {
            self.patient_until.get_or_insert(Instant::now() + patience);
        }
    }

    /// How long the next gateway is to wait for a node, where the call would wait `patience` for
    /// those who may come back.
    pub(super) fn share(&mut self, patience: Duration) -> Duration {
        self.wait_for_others(patience);
        share(self.waits, patience, self.rounds)
    }

    /// Notes that `gateway` has refused the call with `error`.
    pub(super) fn note_refusal(&mut self, gateway: usize, error: Error) {
        self.tried.push(gateway);
        // A gateway that never had the function knows least.
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

    /// Whether the next attempt goes to another gateway; it is made now.
    pub(super) fn goes_elsewhere(&mut self) -> bool {
        std::mem::take(&mut self.elsewhere)
    }

    /// Ends a round: no other gateway can be asked.
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
            0 | 1 => refusal.with_more(format_args!("no other gateway of this client was reached")),
            _ => refusal.with_more(format_args!("{asked} gateways of this client were asked")),
        })
    }
}

/// How long one gateway is to wait for a node: not at all, until all of them have been asked.
pub(super) fn share(waits: bool, patience: Duration, rounds: u32) -> Duration {
    /// Short at first: a node that comes to another gateway is to be found soon.
    const SHARE: Duration = Duration::from_secs(1);
    /// A call that waits long is to cost little.
    const DOUBLINGS: u32 = 2;
    let Some(again) = rounds.checked_sub(1) else { return Duration::ZERO };
    let share = SHARE * (1 << again.min(DOUBLINGS));
    if waits { share } else { share.min(patience) }
}

/// Whether a gateway's answer says that it has no node for the call, and another one may have.
pub(super) fn is_refusal(error: &Error) -> bool {
    use ErrorKind::{Overloaded, Unavailable};
    let kind = error.kind();
    // A node that is overloaded would be so at the next gateway too.
    let refused = is_waited_for(kind)
        || kind == Unavailable
        || (kind == Overloaded && error.node().is_none());
    refused && error.executed() == Executed::No
}

/// Whether a gateway that says so may have a node later.
fn is_waited_for(kind: ErrorKind) -> bool {
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
                RoundEnd::Next => panic!("nobody waits"),
            }
        };
        assert_eq!(ends(&[NoSuchFunction, NoNode]).0, NoNode);
        assert_eq!(ends(&[NoNode, NoSuchFunction]).0, NoNode);
        assert_eq!(ends(&[NoSuchFunction, SignatureMismatch]).0, SignatureMismatch);
        assert_eq!(ends(&[Overloaded, NoNode]).0, Overloaded);
        assert_eq!(ends(&[NoNode, NoNode]).1, "no; 2 gateways of this client were asked");
        assert_eq!(ends(&[NoNode]).1, "no; no other gateway of this client was reached");
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
