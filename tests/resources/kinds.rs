//! A function of every kind that gives or takes a stream. Each holds something that says when it is
//! dropped, and does what its script says.

use std::future::pending;
use std::pin::pin;

use common::{SayOnDrop, say};
use easyremote::node::Functions;
use easyremote::{CallError, Client, ErrorKind, functions, remote};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt, TryFutureExt, TryStreamExt};
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Iterator,
    IteratorAfterSetUp,
    Stream,
    StreamAfterSetUp,
    Generator,
    Duplex,
    /// One result, for a stream from the caller.
    Upload,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Plan {
    /// Three items.
    End,
    /// An item and an error.
    FailLast,
    /// An item, an error and an item.
    FailAndGoOn,
    RefuseInSetUp,
    PanicInSetUp,
    /// An item, and a panic.
    Panic,
    /// A set-up that takes for ever; says `running` in it.
    StuckInSetUp,
    /// An item, and then none and no end; says `running` after the item.
    Silent,
    /// Items without end; says `running` after the first.
    Endless,
}

/// What a function is to do, and the probe to which it says what becomes of it: `ended` before it
/// ends well, and `dropped` when what it holds is dropped.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Script {
    pub(crate) key: u64,
    pub(crate) plan: Plan,
}

#[derive(Debug, Serialize, Deserialize)]
struct Refused;

#[derive(Debug, Serialize, Deserialize)]
struct Bad(u64);

/// What a function holds while it runs.
struct Held {
    script: Script,
    n: u64,
    _guard: SayOnDrop,
}

impl Held {
    fn set_up(script: Script) -> Result<Self, Refused> {
        let held = Self { script, n: 0, _guard: SayOnDrop(script.key, "dropped") };
        match script.plan {
            Plan::RefuseInSetUp => Err(Refused),
            Plan::PanicInSetUp => panic!("as planned, in the set-up"),
            _ => Ok(held),
        }
    }

    async fn set_up_slowly(script: Script) -> Result<Self, Refused> {
        let held = Self::set_up(script)?;
        if script.plan == Plan::StuckInSetUp {
            say(script.key, "running");
            pending::<()>().await;
        }
        tokio::task::yield_now().await;
        Ok(held)
    }

    async fn step(&mut self) -> Option<Result<u64, Bad>> {
        if self.script.plan == Plan::Silent && self.n == 1 {
            say(self.script.key, "running");
            pending::<()>().await;
        }
        self.next()
    }

    fn stream(self) -> impl Stream<Item = Result<u64, Bad>> {
        stream::unfold(self, async |mut held| Some((held.step().await?, held)))
    }
}

impl Iterator for Held {
    type Item = Result<u64, Bad>;

    fn next(&mut self) -> Option<Self::Item> {
        let n = self.n;
        self.n += 1;
        match (self.script.plan, n) {
            (Plan::End | Plan::FailAndGoOn, 3) | (Plan::FailLast, 2) => {
                say(self.script.key, "ended");
                return None;
            }
            (Plan::FailLast | Plan::FailAndGoOn, 1) => return Some(Err(Bad(n))),
            (Plan::Panic, 1) => panic!("as planned"),
            (Plan::Endless, 1) => say(self.script.key, "running"),
            _ => {}
        }
        Some(Ok(n))
    }
}

#[remote(stream)]
fn iterator(script: Script) -> Result<impl Iterator<Item = Result<u64, Bad>>, Refused> {
    Held::set_up(script)
}

#[remote(stream)]
async fn iterator_after_set_up(
    script: Script,
) -> Result<impl Iterator<Item = Result<u64, Bad>>, Refused> {
    Held::set_up_slowly(script).await
}

#[remote(stream)]
fn plain_stream(script: Script) -> Result<impl Stream<Item = Result<u64, Bad>>, Refused> {
    Ok(Held::set_up(script)?.stream())
}

#[remote(stream)]
async fn stream_after_set_up(
    script: Script,
) -> Result<impl Stream<Item = Result<u64, Bad>>, Refused> {
    Ok(Held::set_up_slowly(script).await?.stream())
}

#[remote(stream)]
fn generator(script: Script) -> Result<impl Stream<Item = Result<u64, Bad>>, Refused> {
    let mut held = Held::set_up(script)?;
    Ok(async_stream::stream! {
        while let Some(item) = held.step().await {
            yield item;
        }
    })
}

#[remote(stream)]
fn duplex(
    script: Script,
    numbers: impl Stream<Item = u64>,
) -> Result<impl Stream<Item = Result<u64, Bad>>, Refused> {
    let held = Held::set_up(script)?;
    Ok(held.stream().zip(numbers).map(|(item, _)| item))
}

/// The number of its items, or the last of its errors.
#[remote]
async fn upload(script: Script, numbers: impl Stream<Item = u64>) -> Result<u64, Bad> {
    let mut held = Held::set_up_slowly(script).await.map_err(|Refused| Bad(0))?;
    let mut numbers = pin!(numbers);
    let mut result = Ok(0);
    while let Some(item) = held.step().await {
        numbers.next().await;
        result = item.and_then(|_| result.map(|n| n + 1));
    }
    result
}

pub(crate) fn all() -> Functions {
    functions![
        iterator,
        iterator_after_set_up,
        plain_stream,
        stream_after_set_up,
        generator,
        duplex,
        upload
    ]
}

/// How a caller sees that something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// From `open`, and so before any item.
    Refused,
    Bad(u64),
    Remote(ErrorKind),
}

impl From<CallError<Refused>> for Seen {
    fn from(error: CallError<Refused>) -> Self {
        error.remote().map_or(Self::Refused, |error| Self::Remote(error.kind()))
    }
}

impl From<CallError<Bad>> for Seen {
    fn from(error: CallError<Bad>) -> Self {
        match error {
            CallError::Function(Bad(n)) => Self::Bad(n),
            CallError::Remote(error) => Self::Remote(error.kind()),
        }
    }
}

pub(crate) type Items = BoxStream<'static, Result<u64, Seen>>;

/// A caller's stream without end, which says to the probe `key` that it is dropped.
pub(crate) fn numbers(key: u64) -> BoxStream<'static, u64> {
    let guard = SayOnDrop(key, "dropped");
    let numbers = stream::iter(0..).inspect(move |_| {
        let _keep = &guard;
    });
    numbers.boxed()
}

/// Calls the function of `kind`, with `numbers` if it takes a stream.
pub(crate) fn begin(
    kind: Kind,
    client: &Client,
    script: Script,
    numbers: BoxStream<'static, u64>,
) -> Items {
    macro_rules! open {
        ($call:expr) => {
            $call
                .open()
                .map_ok(|items| items.map_err(Seen::from))
                .map_err(Seen::from)
                .try_flatten_stream()
                .boxed()
        };
    }
    match kind {
        Kind::Iterator => open!(iterator::call(client, script)),
        Kind::IteratorAfterSetUp => open!(iterator_after_set_up::call(client, script)),
        Kind::Stream => open!(plain_stream::call(client, script)),
        Kind::StreamAfterSetUp => open!(stream_after_set_up::call(client, script)),
        Kind::Generator => open!(generator::call(client, script)),
        Kind::Duplex => open!(duplex::call(client, script, numbers)),
        Kind::Upload => {
            upload::call(client, script, numbers).map_err(Seen::from).into_stream().boxed()
        }
    }
}
