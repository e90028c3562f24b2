//! What [`Executed`] means, and every rule that decides it.
//!
//! `No` is a proof, so a party may only claim it from what it has seen itself. The proofs rest on
//! four facts:
//!
//! 1. **A node starts nothing before it has the last byte of the arguments.** Until a party has
//!    handed that byte to QUIC, the function cannot have started: [`Evidence::NotSent`].
//! 2. **A node decides in one step whether a function starts** (`CallTable::begin`). A call that is
//!    cancelled, late or refused before that step never starts: [`Evidence::NotStarted`].
//! 3. **Only a function that has started causes a frame other than `Error`.** A party that has seen
//!    one knows that the function ran: [`Evidence::Answered`].
//! 4. **A node rejects the id of a call that it has started before**, unless its function is
//!    `idempotent`, so that a duplicate on the way starts nothing either.
//!
//! ```text
//!   sender   NotSent    --last byte handed to QUIC--> Sent  --output has arrived-> Answered
//!   node     NotStarted --the function starts-------> Sent  --it ends by itself--> Answered
//!   proves   No                                       Maybe                        Yes
//! ```
//!
//! Between the first fact and the third nothing is proven: [`Evidence::Sent`]. A reset without an
//! [`Executed`] in its code proves nothing either, and counts as `Sent`.
//!
//! A call with several attempts has the strongest evidence of all of them: [`Executed::or`].
//!
//! **What a node reports.** Only the node itself can see whether it honours the second fact. Its
//! `No` is accepted nevertheless: a node that runs a function and denies it makes the call run
//! twice, which it could do without a false report too. A node's `No` does not count
//!
//! - after any output of the function has arrived, which proves that it ran;
//! - in an error of a function that has run, such as `Panicked`, or in one that only a gateway can
//!   report, such as `NodeLost`: [`node_may_refuse`].
//!
//! The gateway turns such a `No` into `Maybe` or `Yes` (`FrameScanner::false_no`). Callers do the
//! same for errors that always mean that the function ran ([`may_refuse`]). For the rest they trust
//! their gateway.

use crate::error::{Error, ErrorKind, Executed};

/// What a party knows about whether the function of a call has run, in the order in which it learns
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Evidence {
    /// The last byte of the call has not been handed to QUIC.
    NotSent,
    /// The node has the call, and its function will not start.
    NotStarted,
    /// All of the call has been handed to QUIC, or the function has started and was cut off.
    Sent,
    /// Something has arrived that only a started function can cause.
    Answered,
}

impl Evidence {
    /// Returns what the evidence proves.
    pub(crate) const fn executed(self) -> Executed {
        match self {
            Self::NotSent | Self::NotStarted => Executed::No,
            Self::Sent => Executed::Maybe,
            Self::Answered => Executed::Yes,
        }
    }

    /// Returns the evidence of a party that sends a call; `all` if QUIC has taken all of it.
    pub(crate) const fn of_sending(all: bool) -> Self {
        if all { Self::Sent } else { Self::NotSent }
    }

    /// Returns the evidence of a node; `started` if the function has started.
    pub(crate) const fn of_start(started: bool) -> Self {
        if started { Self::Sent } else { Self::NotStarted }
    }

    /// Returns this evidence, or `Answered` if `answered`.
    pub(crate) const fn or_answered(self, answered: bool) -> Self {
        if answered { Self::Answered } else { self }
    }
}

/// Returns whether an error of this kind can occur before the function has started.
pub(crate) const fn may_refuse(kind: ErrorKind) -> bool {
    use ErrorKind::{BadResponse, Failed, Panicked, SlowConsumer};
    // Each of these is the outcome of a function that ran.
    !matches!(kind, BadResponse | Failed | Panicked | SlowConsumer)
}

/// Returns whether a node can report an error of this kind before it has started the function.
pub(crate) const fn node_may_refuse(kind: ErrorKind) -> bool {
    use ErrorKind::{ConnectionLost, NoNode, NodeLost};
    // A lost node sends no errors, and a node knows nothing about other nodes.
    may_refuse(kind) && !matches!(kind, ConnectionLost | NoNode | NodeLost)
}

impl Error {
    /// Corrects an error from a peer that claims more than the peer can know.
    pub(crate) fn weighed(self) -> Self {
        match self.executed() {
            Executed::No if !may_refuse(self.kind()) => self.with_evidence(Evidence::Sent),
            _ => self,
        }
    }

    /// Sets whether the function may have run to what `evidence` proves.
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
