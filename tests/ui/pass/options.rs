//! Options of every kind of function.
#![deny(warnings)]
#![forbid(unsafe_code)]

use easyremote::{functions, remote};
use futures::{Stream, stream};

#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

type Checked<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
type CheckedResult<T> = Checked<T>;

#[remote(idempotent, detached, concurrency = 1, needs = "gpu", err = "display")]
fn everything(a: u8) -> Result<u8, Refused> {
    a.checked_add(1).ok_or(Refused)
}

#[remote(inline, detached, concurrency = 4_000_000_000)]
fn inline() {}

#[remote(err = "display")]
async fn aliased() -> CheckedResult<()> {
    Err("refused")?;
    Ok(())
}

#[remote(stream, err = "display", concurrency = 2)]
fn items() -> impl Iterator<Item = std::io::Result<u8>> {
    [1, 2].into_iter().map(Ok)
}

#[remote(stream, err = "display")]
async fn both(up: impl Stream<Item = u8>) -> CheckedResult<impl Stream<Item = Result<u8, Refused>>> {
    let _ = up;
    Ok(stream::iter([Err(Refused)]))
}

fn main() {
    let _ = functions![everything, inline, aliased, items, both];
}
