//! What [`Executed`] means, and every rule that decides it.
//!
//! `No` is a proof, so it may only follow from what the party that says it has seen itself. The
//! proofs rest on four facts:
//!
//! 1. **A node starts nothing before it has the last byte of the arguments.** As long as a
//!    party has not handed that byte to QUIC, the function cannot have started:
//!    [`Evidence::NotSent`].
//! 2. **A node decides in one step whether a function starts** (`CallTable::begin`). What is given
//!    up, late or refused before that step never starts: [`Evidence::NotStarted`].
//! 3. **Only a function that has started causes a frame other than `Error`.** Whoever has seen one
//!    knows that it ran: [`Evidence::Answered`].
//! 4. **A node rejects the id of a call that it has started before**, unless its function is
//!    `idempotent`, so that a repetition on the way starts nothing either.
//!
//! Between the first fact and the third nothing is known: [`Evidence::Sent`]. A reset that carries
//! no word of its own proves nothing, and counts as `Sent`.
//!
//! A call with several attempts has the strongest evidence of all of them: [`Executed::or`].
//!
//! **What a node reports.** Only the node can see whether it keeps the second fact. Its `No` is
//! passed on all the same: a node that runs a function and denies it makes the call run twice, and
//! it could do that without lying too. A node's `No` does not count
//!
//! - after any output of the function has arrived, which proves the third fact;
//! - in an error of a function that has run, such as `Panicked`, or in one that only a gateway can
//!   report, such as `NodeLost`: [`node_may_refuse`].
//!
//! The gateway turns such a `No` into `Maybe` or `Yes` (`FrameScanner::false_no`). Callers do the
//! same for errors that always mean that the function ran ([`may_refuse`]). For the rest they trust
//! their gateway.

use crate::error::{Error, ErrorKind, Executed};

/// What is known about whether the function of a call runs, in the order in which it becomes known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    /// QUIC has not been given all of the call.
    NotSent,
    /// The node has the call, and its function will not start.
    NotStarted,
    /// All of the call has left, or the function has started without ending by itself.
    Sent,
    /// Something exists that only a function that has started can have caused.
    Answered,
}

impl Evidence {
    /// What it proves.
    pub(crate) const fn executed(self) -> Executed {
        match self {
            Self::NotSent | Self::NotStarted => Executed::No,
            Self::Sent => Executed::Maybe,
            Self::Answered => Executed::Yes,
        }
    }

    /// For a party that sends a call: whether QUIC has taken all of it.
    pub(crate) const fn of_sending(all: bool) -> Self {
        if all { Self::Sent } else { Self::NotSent }
    }

    /// For a node: whether the function has started.
    pub(crate) const fn of_start(started: bool) -> Self {
        if started { Self::Sent } else { Self::NotStarted }
    }

    /// This, or `Answered` if `answered`.
    pub(crate) const fn or_answered(self, answered: bool) -> Self {
        if answered { Self::Answered } else { self }
    }
}

/// Whether an error of this kind can occur before the function has started.
pub(crate) const fn may_refuse(kind: ErrorKind) -> bool {
    use ErrorKind::{BadResponse, Failed, Panicked, SlowConsumer};
    // Each of them is what became of a function that ran.
    !matches!(kind, BadResponse | Failed | Panicked | SlowConsumer)
}

/// Whether a node can report an error of this kind before it has started the function.
pub(crate) const fn node_may_refuse(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionLost, NoNode, NodeLost};
    // A node that is lost says nothing, and it knows of no others.
    may_refuse(kind) && !matches!(kind, ConnectionLost | NoNode | NodeLost)
}

impl Error {
    /// An error that has come from a peer: not more is believed than it can know.
    pub(crate) fn weighed(self) -> Self {
        match self.executed() {
            Executed::No if !may_refuse(self.kind()) => self.with_evidence(Evidence::Sent),
            _ => self,
        }
    }

    /// Says whether the function may have run, from what is known.
    pub(crate) fn with_evidence(self, evidence: Evidence) -> Self {
        self.with_executed(evidence.executed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_evidence_never_weakens_what_is_known() {
        let all = [Evidence::NotSent, Evidence::NotStarted, Evidence::Sent, Evidence::Answered];
        assert!(all.is_sorted());
        for (i, earlier) in all.iter().enumerate() {
            for later in &all[i..] {
                let (before, after) = (earlier.executed(), later.executed());
                assert_eq!(before.or(after), after, "{earlier:?}, then {later:?}");
            }
            assert_eq!(earlier.or_answered(true), Evidence::Answered);
            assert_eq!(earlier.or_answered(false), *earlier);
        }
    }
}
