//! How a call has ended, whatever it was.

use std::fmt::Display;

use easyremote::{CallError, Error, ErrorKind, Executed};
use futures::{Stream, StreamExt};

/// Well, or with this error.
pub type Ended = Result<(), (ErrorKind, Executed, String)>;

/// The error of a call, typed or not.
pub trait Failure: Display {
    fn remote(&self) -> Option<&Error>;
}

impl Failure for Error {
    fn remote(&self) -> Option<&Error> {
        Some(self)
    }
}

impl<E: Display> Failure for CallError<E> {
    fn remote(&self) -> Option<&Error> {
        self.remote()
    }
}

/// A function's own error has the kind `Failed`.
pub fn ended<T>(result: Result<T, impl Failure>) -> Ended {
    result.map(drop).map_err(|error| {
        let remote = error.remote().map(|error| (error.kind(), error.executed()));
        let (kind, executed) = remote.unwrap_or((ErrorKind::Failed, Executed::Yes));
        (kind, executed, error.to_string())
    })
}

/// Well if the stream ends without an error, which is the last that it gives.
pub async fn drained<T>(mut items: impl Stream<Item = Result<T, impl Failure>> + Unpin) -> Ended {
    while let Some(item) = items.next().await {
        if item.is_err() {
            assert!(items.next().await.is_none(), "something came after an error");
            return ended(item);
        }
    }
    Ok(())
}
