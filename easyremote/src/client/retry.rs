//! Making a call again.

use std::time::{Duration, Instant};

use crate::call::backoff::ExponentialBackoff;
use crate::error::{Error, ErrorKind, Executed};
use crate::transport::live_connection::LiveConnection;

/// How often, and after what pauses, a call is made again that failed.
///
/// What is safe to repeat is not a matter of this policy. A function that is not `idempotent` is
/// called again only if it is proven that it did not start; one that is, also if it may have. Every
/// attempt has the same call id, and all of them together the one deadline.
///
/// Where node or connection was lost, or the party is draining, another attempt waits for a node
/// that can run it, for as long as the client's
/// [`connect_timeout`](crate::auth::DialOptions::connect_timeout). If none comes, the call ends with
/// the error of the attempt that was lost: that is what has happened to it.
///
/// | a call that | without `.retry(..)` | with it |
/// |---|---|---|
/// | did not start: node or connection was lost, or drains | again, the first time at once | same |
/// | did not start: no node, gateway or room | not again | again, not before [`retry_after`] |
/// | may have run, because node or connection was lost, and is `idempotent` | again | again |
/// | ended in any other way | not again | not again |
///
/// A call that takes a client stream, or whose arguments are longer than 1 MiB, is not made again,
/// nor is a stream that has been opened.
///
/// Where calls go on failing, fewer are repeated. A client has 10 tokens unless
/// [set](crate::client::ClientBuilder::retry_tokens) otherwise, each success gives a tenth of one back, and
/// with half of them or fewer none is repeated (the retry throttling of gRPC, proposal A6). A call
/// that found no room, gateway or node takes one. For calls that may have run, each loss of a node
/// or connection takes one, however many calls it has ended: one loss does not keep any of them
/// from being made again, one after the other does.
///
/// A client of several gateways asks the next one when a gateway has no node for a call, or no
/// room (`Executed::No`), each once. These attempts are made at once, take no token, and do not
/// count among those of the policy; with [`never`](Self::never) there are none. A gateway that
/// refuses one call after the other is left for one that does not.
/// ```
/// # use easyremote::{Client, Retry, remote};
/// # use std::time::Duration;
/// # #[remote]
/// # fn add(a: i64, b: i64) -> i64 { a + b }
/// # async fn example(client: Client) -> Result<(), easyremote::Error> {
/// let (first, longest) = (Duration::from_millis(50), Duration::from_secs(2));
/// let patient = Retry::new().attempts(5).backoff(first, longest);
/// let sum = add::call(&client, 1, 2).retry(patient).await?;
/// # Ok(())
/// # }
/// ```
///
/// [`retry_after`]: Error::retry_after
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a policy does nothing until it is given to a call or to `Options`"]
pub struct Retry {
    attempts: u32,
    first: Duration,
    longest: Duration,
}

/// Longest arguments that are kept for another attempt, in bytes.
pub(super) const MAX_KEPT: usize = 1 << 20;

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// 3 attempts in all, with pauses that double from 100 ms up to 1 s, each varied by a fifth.
    pub const fn new() -> Self {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        Self { attempts: 3, first, longest }
    }

    /// One attempt, whatever becomes of it.
    pub const fn never() -> Self {
        Self { attempts: 1, ..Self::new() }
    }

    /// Most attempts in all, the first one included; at least 1.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// The first pause, and the longest one; between them they double.
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// The pause after the attempt number `attempt`, counted from 0.
    fn pause(&self, attempt: u64) -> Duration {
        let Self { first, longest, .. } = *self;
        let backoff = ExponentialBackoff { first, longest, factor: 2.0, jitter: (0.8, 1.2) };
        backoff.pause(u32::try_from(attempt).unwrap_or(u32::MAX))
    }
}

/// What holds for one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// `None` if the caller has not set one.
    pub(super) retry: Option<Retry>,
    pub(super) idempotent: bool,
}

/// What becomes of an attempt that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// That was it.
    Final,
    /// It did not start: one more attempt after this pause.
    Free(Duration),
    /// One more attempt after this pause, if the budget has a token for it.
    Budgeted(Duration),
    /// The same, if the loss that ended it is paid for.
    Lost(Duration),
}

impl Policy {
    /// The pause after so many attempts, or rounds of them.
    pub(super) fn pause(&self, attempts: u32) -> Duration {
        self.retry.unwrap_or_default().pause(attempts.into())
    }

    /// Whether there is ever a second attempt, so that the arguments have to be kept.
    pub(super) fn repeats(&self) -> bool {
        self.retry.is_none_or(|retry| retry.attempts > 1)
    }

    /// What to do after attempt number `attempt`, counted from 0, failed with `error`.
    pub(super) fn judge(&self, error: &Error, attempt: u64) -> Verdict {
        let retry = self.retry.unwrap_or_default();
        if attempt + 1 >= u64::from(retry.attempts) {
            return Verdict::Final;
        }
        let lost = matches!(
            error.kind(),
            ErrorKind::NodeLost | ErrorKind::ConnectionLost | ErrorKind::Draining
        );
        let pause = retry.pause(attempt).max(error.retry_after().unwrap_or_default());
        match error.executed() {
            Executed::No if lost && attempt == 0 => Verdict::Free(Duration::ZERO),
            Executed::No if lost => Verdict::Free(pause),
            Executed::No if error.is_retryable() && self.retry.is_some() => {
                Verdict::Budgeted(pause)
            }
            // A node that shuts down cancels what it runs.
            Executed::Maybe | Executed::Yes
                if self.idempotent && (lost || error.kind() == ErrorKind::Cancelled) =>
            {
                Verdict::Lost(pause)
            }
            _ => Verdict::Final,
        }
    }
}

/// What is known of the attempts before the present one.
#[derive(Debug, Default)]
pub(super) struct AttemptHistory {
    /// How one of them was lost: the first that may have run, or the first.
    lost: Option<Error>,
    /// When the last one was lost that had been given to somebody.
    since: Option<Instant>,
}

impl AttemptHistory {
    /// Whether one of them may have run.
    pub(super) fn executed(&self) -> Executed {
        self.lost.as_ref().map_or(Executed::No, Error::executed)
    }

    /// Adds one that failed with `error`.
    pub(super) fn add(&mut self, error: Error) {
        use ErrorKind::{Cancelled, ConnectionLost, Draining, NodeLost};
        let executed = error.executed().or(self.executed());
        if !matches!(error.kind(), NodeLost | ConnectionLost | Draining | Cancelled) {
            return;
        }
        if self.since.is_none() || error.executed() != Executed::No {
            self.since = Some(Instant::now());
        }
        let first = match self.lost.take() {
            Some(first) if first.executed() != Executed::No => first,
            Some(first) if error.executed() == Executed::No => first,
            _ => error,
        };
        self.lost = Some(first.with_executed(executed));
    }

    /// How long the next one is to wait for a node, over `live`, where `limit` is the time for a
    /// connection to come back: who was lost may come back as well.
    pub(super) fn patience(&self, live: &LiveConnection, limit: Duration) -> Duration {
        self.since.map_or_else(
            || live.others_may_take(limit),
            |since| limit.saturating_sub(since.elapsed()),
        )
    }

    /// The error of a call whose last attempt failed with `error`.
    pub(super) fn conclude(&mut self, error: Error) -> Error {
        use ErrorKind::{NoNode, NoSuchFunction, Unavailable};
        let executed = error.executed().or(self.executed());
        let error = match self.lost.take() {
            // That nobody was there for the last one says nothing of what has become of the call.
            Some(lost) if matches!(error.kind(), NoNode | NoSuchFunction | Unavailable) => {
                lost.with_more(format_args!("it could not be made again: {error}"))
            }
            _ => error,
        };
        error.with_executed(executed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: ErrorKind, executed: Executed) -> Error {
        Error::new(kind, "test").with_executed(executed)
    }

    #[test]
    fn only_what_is_safe_is_repeated() {
        use ErrorKind::*;
        use Executed::{Maybe, No, Yes};
        let automatic = Policy { retry: None, idempotent: false };
        let asked = Policy { retry: Some(Retry::new()), idempotent: false };
        let idempotent = Policy { retry: None, idempotent: true };
        let never = Policy { retry: Some(Retry::never()), idempotent: true };
        let repeats = |policy: Policy, kind, executed| {
            policy.judge(&error(kind, executed), 0) != Verdict::Final
        };
        for kind in [NodeLost, ConnectionLost, Draining] {
            assert!(repeats(automatic, kind, No) && repeats(asked, kind, No));
            assert!(!repeats(automatic, kind, Maybe) && !repeats(asked, kind, Yes));
            assert!(repeats(idempotent, kind, Maybe) && repeats(idempotent, kind, Yes));
            assert!(!repeats(never, kind, No) && !repeats(never, kind, Maybe));
        }
        for kind in [NoNode, Overloaded, Unavailable] {
            assert!(!repeats(automatic, kind, No) && !repeats(idempotent, kind, No));
            assert!(repeats(asked, kind, No));
        }
        for kind in [BadArguments, Panicked, DeadlineExceeded, SignatureMismatch, TooLarge] {
            for executed in [No, Maybe, Yes] {
                assert!(!repeats(asked, kind, executed) && !repeats(idempotent, kind, executed));
            }
        }
    }

    #[test]
    fn a_call_ends_with_what_has_become_of_it() {
        use ErrorKind::*;
        use Executed::{Maybe, No, Yes};
        let ends = |attempts: &[(ErrorKind, Executed)]| {
            let (mut past, (last, before)) =
                (AttemptHistory::default(), attempts.split_last().unwrap());
            before.iter().for_each(|(kind, executed)| past.add(error(*kind, *executed)));
            let error = past.conclude(error(last.0, last.1));
            (error.kind(), error.executed())
        };
        assert_eq!(ends(&[(NoNode, No)]), (NoNode, No));
        assert_eq!(ends(&[(NoNode, No), (NoNode, No)]), (NoNode, No));
        assert_eq!(ends(&[(Overloaded, No), (NoNode, No)]), (NoNode, No));
        assert_eq!(ends(&[(NodeLost, Maybe), (NoNode, No)]), (NodeLost, Maybe));
        assert_eq!(ends(&[(Draining, No), (NoSuchFunction, No)]), (Draining, No));
        assert_eq!(
            ends(&[(Draining, No), (NodeLost, Yes), (ConnectionLost, Maybe), (Unavailable, No)]),
            (NodeLost, Yes)
        );
        assert_eq!(ends(&[(NodeLost, Maybe), (Cancelled, Yes), (NoNode, No)]), (NodeLost, Yes));
        assert_eq!(ends(&[(ConnectionLost, Maybe), (Overloaded, No)]), (Overloaded, Maybe));
        assert_eq!(ends(&[(ConnectionLost, Maybe), (Panicked, Yes)]), (Panicked, Yes));
    }

    #[test]
    fn attempts_end_and_pauses_grow_within_bounds() {
        let retry = Retry::new().attempts(80);
        let policy = Policy { retry: Some(retry), idempotent: false };
        let lost = error(ErrorKind::NodeLost, Executed::No);
        assert_eq!(policy.judge(&lost, 0), Verdict::Free(Duration::ZERO));
        assert_eq!(policy.judge(&lost, 79), Verdict::Final);
        for attempt in 0..79 {
            let full = (0.1 * 2_f64.powi(attempt as i32)).min(1.0);
            let pause = retry.pause(attempt).as_secs_f64();
            assert!(pause >= full * 0.79 && pause <= full * 1.21, "{attempt}: {pause}");
        }
        let busy = error(ErrorKind::Overloaded, Executed::No);
        let busy = busy.with_retry_after(Duration::from_secs(9));
        assert_eq!(policy.judge(&busy, 0), Verdict::Budgeted(Duration::from_secs(9)));
    }
}
