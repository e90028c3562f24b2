//! Retries: the policy of a call, the verdict on a failed attempt, and what attempts have proven.

use std::time::{Duration, Instant};

use crate::call::backoff::ExponentialBackoff;
use crate::error::{Error, ErrorKind, Executed};
use crate::transport::live_connection::LiveConnection;

/// Retry policy of a call: number of attempts and back-off.
///
/// The policy does not decide what is safe to retry. A call of a function that is not `idempotent`
/// is retried only if it is proven that it did not start ([`Executed::No`](Executed::No)); of an
/// `idempotent` function also if it may have run. All attempts have the same call id, and share one
/// deadline. [`Context::attempt`](crate::Context::attempt) counts them.
///
/// | a call that | without `.retry(..)` | with `.retry(..)` |
/// |---|---|---|
/// | did not start: node or connection lost, or draining | retried, first at once | the same |
/// | did not start: no node, gateway or room | not retried | retried, after [`retry_after`] |
/// | may have run: the same losses, `idempotent` | retried | retried |
/// | ended in any other way | not retried | not retried |
///
/// Never retried are calls with arguments of more than 1 MiB, streams that have been opened, and
/// calls with a client stream. Those of a `#[remote(resumable)]` function are retried until its node
/// has accepted them, because what has been sent is kept; later they are resumed, which is no retry.
///
/// **Waiting for a node.** After a lost node or connection, or a party that drains, the next
/// attempt waits for a node that can run it, for up to the client's
/// [`connect_timeout`](crate::auth::DialOptions::connect_timeout). If none comes, the call fails
/// with the error of the lost attempt.
///
/// **Retry budget.** While calls keep failing, fewer are retried (the retry throttling of gRPC,
/// proposal A6). A client has 10 tokens unless
/// [set](crate::client::ClientBuilder::retry_tokens) otherwise. Each success returns a tenth of a
/// token, and while half of them or fewer are left, no retry that needs a token is made.
///
/// - A retry of a call that did not start takes no token after a loss or a drain.
/// - A retry of a call that found no room, gateway or node takes a token.
/// - For calls that may have run, each loss of a node or connection takes one token, however many
///   calls it has ended. So all calls of one loss are retried, and with 10 tokens those of five
///   losses in a row.
///
/// **Several gateways.** When a gateway has no node or no room for a call (`Executed::No`), a
/// client of several gateways asks each of the others once. These attempts are made at once, take
/// no token, and do not count among the attempts of the policy; [`never`](Self::never) turns them
/// off. A gateway that refuses several calls in a row is left for one that does not.
///
/// **Inside the gateway.** If a node is lost before it has the whole call, the gateway sends the
/// call to another node, up to three in all. This is part of one attempt, and independent of the
/// policy and the budget.
///
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
#[must_use = "a policy does nothing until it is passed to a call or to `Options`"]
#[doc(alias = "backoff")]
#[doc(alias = "idempotent")]
#[doc(alias = "resilience")]
pub struct Retry {
    attempts: u32,
    first: Duration,
    longest: Duration,
}

/// Longest arguments that are kept for another attempt, in bytes: 1 MiB.
pub(super) const MAX_KEPT: usize = 1 << 20;

impl Default for Retry {
    fn default() -> Self {
        Self::new()
    }
}

impl Retry {
    /// Returns a policy of 3 attempts in total, with pauses that double from 100 ms up to 1 s. Each
    /// pause is varied at random by up to 20 %.
    ///
    /// ```
    /// use easyremote::{Client, Options, Retry};
    ///
    /// fn persistent(client: &Client) -> Client {
    ///     client.with(Options::new().retry(Retry::new()))
    /// }
    /// ```
    pub const fn new() -> Self {
        let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
        Self { attempts: 3, first, longest }
    }

    /// Returns a policy of one attempt: the call is never retried, and no other gateway is asked.
    ///
    /// ```
    /// # use easyremote::{Client, Retry, remote};
    /// # #[remote]
    /// # async fn add(a: i64, b: i64) -> i64;
    /// # async fn example(client: Client) -> Result<(), easyremote::Error> {
    /// let sum = add::call(&client, 1, 2).retry(Retry::never()).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub const fn never() -> Self {
        Self { attempts: 1, ..Self::new() }
    }

    /// Sets the largest number of attempts, the first one included. Default: 3; 0 counts as 1.
    ///
    /// ```
    /// use easyremote::Retry;
    ///
    /// const PATIENT: Retry = Retry::new().attempts(5);
    /// assert_eq!(Retry::new().attempts(1), Retry::never());
    /// ```
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = if attempts == 0 { 1 } else { attempts };
        self
    }

    /// Sets the first pause and the longest one; pauses double from one attempt to the next.
    /// Defaults: 100 ms and 1 s.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::Retry;
    ///
    /// // Pauses of about 50 ms, 100 ms, 200 ms and 200 ms.
    /// let quick = Retry::new()
    ///     .attempts(5)
    ///     .backoff(Duration::from_millis(50), Duration::from_millis(200));
    /// # let _ = quick;
    /// ```
    #[doc(alias = "delay")]
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first = first;
        self.longest = longest;
        self
    }

    /// Returns the pause after attempt number `attempt`, counted from 0.
    fn pause(&self, attempt: u64) -> Duration {
        let Self { first, longest, .. } = *self;
        let backoff = ExponentialBackoff { first, longest, factor: 2.0, jitter: (0.8, 1.2) };
        backoff.pause(u32::try_from(attempt).unwrap_or(u32::MAX))
    }
}

/// The rules for further attempts at one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// The caller's policy; `None` if it has not set one.
    pub(super) retry: Option<Retry>,
    pub(super) idempotent: bool,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No further attempt.
    Final,
    /// One more attempt after this pause. The function did not start, and no token is needed.
    Free(Duration),
    /// One more attempt after this pause, if the retry budget has a token for it.
    Budgeted(Duration),
    /// One more attempt after this pause, if the retry budget pays for the loss of the node or
    /// connection.
    Lost(Duration),
}

impl Policy {
    /// Returns the pause after this many attempts, or rounds of attempts.
    pub(super) fn pause(&self, attempts: u32) -> Duration {
        self.retry.unwrap_or_default().pause(attempts.into())
    }

    /// Returns whether there can be a second attempt, so that the arguments have to be kept.
    pub(super) fn repeats(&self) -> bool {
        self.retry.is_none_or(|retry| retry.attempts > 1)
    }

    /// Returns what follows attempt number `attempt`, counted from 0, which failed with `error`.
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
            // `Cancelled` comes from a node that shuts down, which cancels the calls that it runs.
            Executed::Maybe | Executed::Yes
                if self.idempotent && (lost || error.kind() == ErrorKind::Cancelled) =>
            {
                Verdict::Lost(pause)
            }
            _ => Verdict::Final,
        }
    }
}

/// What the earlier attempts at a call have shown: whether one of them may have run, and how it was
/// lost.
#[derive(Debug, Default)]
pub(super) struct AttemptHistory {
    /// The error of one lost attempt: the first that may have run, otherwise the first.
    lost: Option<Error>,
    /// When the last attempt that may have run was lost; if none may have run, when the first was.
    since: Option<Instant>,
}

impl AttemptHistory {
    /// Returns whether one of the earlier attempts may have run.
    pub(super) fn executed(&self) -> Executed {
        self.lost.as_ref().map_or(Executed::No, Error::executed)
    }

    /// Adds an attempt that failed with `error`.
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

    /// Returns how long the next attempt, over `live`, waits for a node: a lost node may come back.
    /// `limit` is the time that a connection has to come back.
    pub(super) fn patience(&self, live: &LiveConnection, limit: Duration) -> Duration {
        self.since.map_or_else(
            || live.others_may_take(limit),
            |since| limit.saturating_sub(since.elapsed()),
        )
    }

    /// Returns the error of a call whose last attempt failed with `error`.
    pub(super) fn conclude(&mut self, error: Error) -> Error {
        use ErrorKind::{NoNode, NoSuchFunction, Unavailable};
        let executed = error.executed().or(self.executed());
        let error = match self.lost.take() {
            // That the last attempt found no node does not say what happened to the call. The error
            // of the lost attempt does.
            Some(lost) if matches!(error.kind(), NoNode | NoSuchFunction | Unavailable) => {
                lost.with_more(format_args!("the next attempt failed: {error}"))
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
            let (mut history, (last, before)) =
                (AttemptHistory::default(), attempts.split_last().unwrap());
            before.iter().for_each(|(kind, executed)| history.add(error(*kind, *executed)));
            let error = history.conclude(error(last.0, last.1));
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
