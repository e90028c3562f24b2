//! The calls of a campaign: drawn by a seed, made, and what becomes of each.

use std::time::Duration;

use easyremote::{Client, Error, ErrorKind, Executed, Options, Retry};
use fastrand::Rng;
use futures::{Stream, StreamExt, stream};
use tokio::time::{Instant, sleep, timeout};

use crate::chain::Chain;
use crate::functions::{
    STEP, again, blocking, bulk, duplex, items, items_again, kept_upload, once, upload,
};
use crate::readers::Reader;
use crate::{jobs, parts, readers, streams};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Once,
    Again,
    Blocking,
    Bulk,
    Items,
    ItemsAgain,
    Upload,
    /// A client stream that goes on after a loss.
    KeptUpload,
    Duplex,
    /// A stream with operators at the node.
    Steps,
    /// The same, of an iterator.
    Ticks,
    /// A resumable stream, with operators.
    Kept,
    /// One of a function that has a `#[resume]` parameter.
    Resumed,
    /// A call that is spawned.
    Job,
    /// Several calls with one key.
    Keyed,
    /// A call that is made a second time if it is slow.
    Hedged,
    /// Several calls at once of a function that takes batches.
    Batched,
    /// A call at every node.
    OnAll,
    /// A stream that several read.
    Cached,
}

impl Kind {
    const ALL: [Self; 19] = [
        Self::Once,
        Self::Again,
        Self::Blocking,
        Self::Bulk,
        Self::Items,
        Self::ItemsAgain,
        Self::Upload,
        Self::KeptUpload,
        Self::Duplex,
        Self::Steps,
        Self::Ticks,
        Self::Kept,
        Self::Resumed,
        Self::Job,
        Self::Keyed,
        Self::Hedged,
        Self::Batched,
        Self::OnAll,
        Self::Cached,
    ];

    pub(crate) fn is_idempotent(self) -> bool {
        matches!(self, Self::Again | Self::ItemsAgain | Self::Resumed | Self::Hedged)
    }

    /// Whether it starts with its first attempt, or a later one that counts as a retry.
    pub(crate) fn counts_attempts(self) -> bool {
        !matches!(self, Self::Resumed | Self::Keyed | Self::Hedged | Self::Batched)
    }
}

/// A call that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// Milliseconds or items.
    pub(crate) size: u64,
    pub(crate) chain: Chain,
    pub(crate) options: Options,
    /// Whether it has a deadline.
    pub(crate) timed: bool,
    /// Whether it is made once only, whatever fails.
    pub(crate) never_again: bool,
    /// Whether a job is cancelled.
    pub(crate) cancels: bool,
    /// Whether a job has a key, and is spawned a second time with it.
    pub(crate) spawns_again: bool,
    /// When the caller loses interest.
    drop_after: Option<Duration>,
}

impl Plan {
    /// A call that has no options.
    pub(crate) fn new(id: u64, kind: Kind, size: u64) -> Self {
        Self {
            id,
            kind,
            size,
            chain: Chain::default(),
            options: Options::new(),
            timed: false,
            never_again: false,
            cancels: false,
            spawns_again: false,
            drop_after: None,
        }
    }

    /// The call number `id`, of whatever kind.
    pub(crate) fn random(seed: u64, id: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut plan = Self::new(id, Kind::ALL[rng.usize(..Kind::ALL.len())], rng.u64(..200));
        let mut options = Options::new();
        if rng.u32(..100) < 30 {
            options = options.timeout(Duration::from_millis(rng.u64(20..4_000)));
            plan.timed = true;
        }
        if rng.u32(..100) < 50 {
            options = options.wait_for_node();
        }
        match rng.u32(..100) {
            0..20 => options = options.retry(Retry::new().attempts(MOST_ATTEMPTS as u32)),
            20..30 => {
                options = options.retry(Retry::never());
                plan.never_again = true;
            }
            _ => {}
        }
        plan.options = options;
        plan.drop_after = (rng.u32(..100) < 10).then(|| Duration::from_millis(rng.u64(..200)));
        plan.chain = match plan.kind {
            Kind::Steps | Kind::Ticks | Kind::Kept => Chain::random(&mut rng),
            Kind::Resumed => Chain::without_state(&mut rng),
            _ => Chain::default(),
        };
        plan.cancels = rng.u32(..100) < 20;
        plan.spawns_again = rng.u32(..100) < 30;
        plan
    }

    /// The call number `id`, which goes well if anything does.
    pub(crate) fn patient(id: u64) -> Self {
        Self { options: Options::new().wait_for_node(), ..Self::new(id, Kind::Again, 1) }
    }

    /// The same without a deadline, or loss of interest.
    pub(crate) fn calm(self) -> Self {
        Self { chain: self.chain, ..Self::new(self.id, self.kind, self.size) }
    }

    /// The items that the function makes.
    pub(crate) fn items(&self) -> Vec<u64> {
        match self.kind {
            Kind::Items | Kind::ItemsAgain | Kind::Duplex | Kind::Kept | Kind::Resumed => {
                (0..self.size).collect()
            }
            Kind::Steps | Kind::Ticks => (0..self.size).map(|n| n / STEP).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether its stream goes on after a loss of its node.
    pub(crate) fn starts_again(&self) -> bool {
        self.kind == Kind::Resumed && !self.never_again
    }

    /// Makes the call.
    pub(crate) async fn make(self, caller: Caller) -> Record {
        let begun = Instant::now();
        let client = caller.client.with(self.options.clone());
        let caller = Caller { client, ..caller };
        let mut seen = Seen::default();
        let outcome = tokio::select! {
            biased;
            outcome = self.outcome(&caller, &mut seen) => outcome,
            () = sleep(self.drop_after.unwrap_or(Duration::MAX)) => Outcome::Dropped,
        };
        Record { plan: self, seen, outcome, took: begun.elapsed() }
    }

    async fn outcome(&self, caller: &Caller, seen: &mut Seen) -> Outcome {
        let bound = if self.kind == Kind::Job { 2 * BOUND } else { BOUND };
        timeout(bound, self.call(caller, seen)).await.unwrap_or(Outcome::Hung)
    }

    async fn call(&self, caller: &Caller, seen: &mut Seen) -> Outcome {
        let (client, id, size) = (&caller.client, self.id, self.size);
        match self.kind {
            Kind::Once => value(once::call(client, id, size).await, id),
            Kind::Again => value(again::call(client, id, size).await, id),
            Kind::Blocking => value(blocking::call(client, id, size / 4).await, id),
            Kind::Bulk => {
                let mut bytes: Vec<u8> = (0..)
                    .flat_map(|n| (id ^ n << 40).to_be_bytes())
                    .take(size as usize * 300)
                    .collect();
                let answer = bulk::call(client, id, bytes.clone()).await;
                bytes.reverse();
                value(answer, bytes)
            }
            Kind::Items => streams::read(items::call(client, id, size), id, seen).await,
            Kind::ItemsAgain => streams::read(items_again::call(client, id, size), id, seen).await,
            Kind::Upload => {
                let answer = upload::call(client, id, slowly(size)).await;
                value(answer, (id, (0..size).collect()))
            }
            Kind::KeptUpload => {
                let answer = kept_upload::call(client, id, paced(size)).await;
                value(answer, (id, (0..size).collect()))
            }
            Kind::Duplex => streams::read(duplex::call(client, id, slowly(size)), id, seen).await,
            Kind::Steps | Kind::Ticks | Kind::Kept | Kind::Resumed => {
                streams::read_chained(self, client, seen).await
            }
            Kind::Job => jobs::run(self, caller, seen).await,
            Kind::Keyed => parts::share_key(self, caller, seen).await,
            Kind::Hedged => {
                let after = Duration::from_millis(5 + size / 4);
                value(again::call(client, id, size).hedge(after).await, id)
            }
            Kind::Batched => parts::share_batch(self, caller, seen).await,
            Kind::OnAll => parts::call_all(self, caller, seen).await,
            Kind::Cached => readers::share(self, caller, seen).await,
        }
    }
}

/// Who makes a call.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// Whose calls are counted: one for each plan, and another one for a hedged call that is slow.
    pub(crate) client: Client,
    /// Another program of the same identity.
    pub(crate) other: Client,
}

/// No call may take longer, whatever happens: three attempts, each with the time to notice a lost
/// peer and that to reach another, and what comes on top on a busy machine.
const BOUND: Duration = Duration::from_secs(150);

/// What a policy allows unless it says otherwise.
pub(crate) const MOST_ATTEMPTS: usize = 3;

/// The numbers up to `count`, with pauses.
fn slowly(count: u64) -> impl Stream<Item = u64> + Send + 'static {
    stream::iter(0..count).then(async |n| {
        if n % 8 == 0 {
            sleep(Duration::from_millis(2)).await;
        }
        n
    })
}

/// The numbers up to `count`, which last long enough for something to happen to the call.
fn paced(count: u64) -> impl Stream<Item = u64> + Send + 'static {
    stream::iter(0..count).then(async |n| {
        sleep(Duration::from_millis(5)).await;
        n
    })
}

/// The outcome of a call that has to return `expected`.
pub(crate) fn value<T: PartialEq + std::fmt::Debug>(
    answer: Result<T, Error>,
    expected: T,
) -> Outcome {
    match answer {
        Ok(value) if value == expected => Outcome::Answered,
        Ok(value) => {
            let mut text = format!("{value:?} instead of {expected:?}");
            text.truncate(200);
            Outcome::Wrong(text)
        }
        Err(error) => Outcome::failed(&error),
    }
}

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// With the value, or the end of the stream, that belongs to it.
    Answered,
    Failed {
        kind: ErrorKind,
        executed: Executed,
        delivered: u64,
        text: String,
    },
    /// The caller did not wait for it.
    Dropped,
    /// With something that cannot be.
    Wrong(String),
    /// It did not.
    Hung,
}

impl Outcome {
    pub(crate) fn failed(error: &Error) -> Self {
        Self::Failed {
            kind: error.kind(),
            executed: error.executed(),
            delivered: error.delivered(),
            text: error.to_string(),
        }
    }

    /// The kind of its error.
    pub(crate) fn error_kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Failed { kind, .. } => Some(*kind),
            _ => None,
        }
    }
}

/// What a caller has seen of a call so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The items of a stream.
    pub(crate) items: Vec<u64>,
    /// The lengths of the lists that they came in, if the chain makes lists.
    pub(crate) lists: Vec<usize>,
    /// How often a stream went on after a loss.
    pub(crate) resumptions: u64,
    /// What became of the calls with one key, of a batch, or at all nodes.
    pub(crate) parts: Vec<Part>,
    /// The readers of a cached stream.
    pub(crate) readers: Vec<Reader>,
    /// The node that has accepted a job.
    pub(crate) accepted: Option<usize>,
    /// The node that has accepted it when it was spawned again, if that is another job.
    pub(crate) accepted_again: Option<usize>,
    /// What the result of a job was when it was asked for again.
    pub(crate) result_again: Option<Outcome>,
}

/// One of several calls that are made together.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) outcome: Outcome,
    /// The node that was called; `None` if none was, or it does not matter which.
    pub(crate) node: Option<usize>,
    /// The number of the run that has answered, or of the call in a batch.
    pub(crate) run: Option<u64>,
}

/// What a caller knows of a call.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) plan: Plan,
    pub(crate) seen: Seen,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl Record {
    /// Whether all of it has succeeded.
    pub(crate) fn went_well(&self) -> bool {
        let parts = self.seen.parts.iter().map(|part| &part.outcome);
        let readers = self.seen.readers.iter().map(|reader| &reader.outcome);
        let all = parts.chain(readers).chain(&self.seen.result_again);
        let mut all = all.chain([&self.outcome]);
        all.all(|outcome| *outcome == Outcome::Answered)
    }
}
