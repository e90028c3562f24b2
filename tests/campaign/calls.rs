//! The calls of a campaign: drawn by a seed, made, and what becomes of each.

use std::time::Duration;

use easyremote::{Client, Error, ErrorKind, Executed, Options, Retry};
use fastrand::Rng;
use futures::{Stream, StreamExt, stream};
use tokio::time::{sleep, timeout};

use crate::functions::{again, blocking, bulk, duplex, items, items_again, once, upload};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Once,
    Again,
    Blocking,
    Bulk,
    Items,
    ItemsAgain,
    Upload,
    Duplex,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Once,
        Self::Again,
        Self::Blocking,
        Self::Bulk,
        Self::Items,
        Self::ItemsAgain,
        Self::Upload,
        Self::Duplex,
    ];

    pub(crate) fn is_idempotent(self) -> bool {
        matches!(self, Self::Again | Self::ItemsAgain)
    }

    /// The number of items that come back, if all goes well.
    fn items(self, size: u64) -> u64 {
        match self {
            Self::Items | Self::ItemsAgain | Self::Duplex => size,
            Self::Once | Self::Again | Self::Blocking | Self::Bulk | Self::Upload => 0,
        }
    }
}

/// A call that is to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// Milliseconds or items.
    size: u64,
    options: Options,
    /// When the caller loses interest.
    drop_after: Option<Duration>,
}

impl Plan {
    /// The call number `id`, of whatever kind.
    pub(crate) fn random(seed: u64, id: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ (id + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut options = Options::new();
        if rng.u32(..100) < 30 {
            options = options.timeout(Duration::from_millis(rng.u64(20..4_000)));
        }
        if rng.u32(..100) < 50 {
            options = options.wait_for_node();
        }
        match rng.u32(..100) {
            0..20 => options = options.retry(Retry::new().attempts(MOST_ATTEMPTS as u32)),
            20..30 => options = options.retry(Retry::never()),
            _ => {}
        }
        let drop_after = (rng.u32(..100) < 10).then(|| Duration::from_millis(rng.u64(..200)));
        let kind = Kind::ALL[rng.usize(..Kind::ALL.len())];
        Self { id, kind, size: rng.u64(..200), options, drop_after }
    }

    /// The call number `id`, which goes well if anything does.
    pub(crate) fn patient(id: u64) -> Self {
        let options = Options::new().wait_for_node();
        Self { id, kind: Kind::Again, size: 1, options, drop_after: None }
    }

    /// The same without a deadline or loss of interest.
    pub(crate) fn calm(self) -> Self {
        Self { options: Options::new(), drop_after: None, ..self }
    }

    /// Makes the call.
    pub(crate) async fn make(self, client: Client) -> Record {
        let client = client.with(self.options.clone());
        let (id, kind, expected) = (self.id, self.kind, self.kind.items(self.size));
        let mut received = 0;
        let outcome = tokio::select! {
            biased;
            outcome = self.outcome(&client, &mut received) => outcome,
            () = sleep(self.drop_after.unwrap_or(Duration::MAX)) => Outcome::Dropped,
        };
        Record { id, kind, expected, received, outcome }
    }

    async fn outcome(&self, client: &Client, received: &mut u64) -> Outcome {
        let called = self.call(client, received);
        timeout(BOUND, called).await.unwrap_or(Outcome::Hung)
    }

    async fn call(&self, client: &Client, received: &mut u64) -> Outcome {
        let (id, size) = (self.id, self.size);
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
            Kind::Items => read(items::call(client, id, size), id, received).await,
            Kind::ItemsAgain => read(items_again::call(client, id, size), id, received).await,
            Kind::Upload => {
                let answer = upload::call(client, id, slowly(size)).await;
                value(answer, (id, (0..size).collect()))
            }
            Kind::Duplex => read(duplex::call(client, id, slowly(size)), id, received).await,
        }
    }
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

fn value<T: PartialEq + std::fmt::Debug>(answer: Result<T, Error>, expected: T) -> Outcome {
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

/// Reads a stream to its end.
async fn read(
    stream: impl Stream<Item = Result<(u64, u64), Error>>,
    id: u64,
    received: &mut u64,
) -> Outcome {
    let mut stream = std::pin::pin!(stream);
    let outcome = loop {
        match stream.next().await {
            Some(Ok(item)) if item == (id, *received) => *received += 1,
            Some(Ok(item)) => {
                return Outcome::Wrong(format!("item {item:?} instead of {:?}", (id, *received)));
            }
            Some(Err(error)) => break Outcome::failed(&error),
            None => break Outcome::Answered,
        }
    };
    match stream.next().await {
        None => outcome,
        Some(more) => Outcome::Wrong(format!("{more:?} after {outcome:?}")),
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
    fn failed(error: &Error) -> Self {
        Self::Failed {
            kind: error.kind(),
            executed: error.executed(),
            delivered: error.delivered(),
            text: error.to_string(),
        }
    }
}

/// What a caller knows of a call.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    /// Items that the whole stream has.
    pub(crate) expected: u64,
    /// Items that the caller got.
    pub(crate) received: u64,
    pub(crate) outcome: Outcome,
}
