//! The calls that have failed last, for those who look after the gateway.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use parking_lot::Mutex;

use crate::error::printable::one_line;
use crate::error::{Error, ErrorKind, Executed};
use crate::wire::header::CallHeader;

/// The last [`KEPT`] calls that have failed with an error. What a function returns as its own error
/// is its answer, and a caller that has left is told nothing: both are only counted.
#[derive(Debug, Default)]
pub(in crate::gateway) struct FailedCalls(Mutex<LastFailed>);

/// A call that has failed. Its texts are single lines of at most [`MAX_SHOWN`] bytes.
#[derive(Debug)]
#[cfg_attr(not(feature = "http"), allow(dead_code))] // read by the HTTP server
pub(crate) struct FailedCall {
    /// Counts up from 1.
    pub(crate) number: u64,
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    pub(crate) function: String,
    pub(crate) kind: ErrorKind,
    pub(crate) executed: Executed,
    /// The id of the node that had the call.
    pub(crate) node: Option<String>,
    /// The identity of the caller.
    pub(crate) identity: String,
    /// What the caller was told, with all causes.
    pub(crate) message: String,
}

/// How many calls are kept.
const KEPT: usize = 100;

/// Longest text of a call that is kept, in bytes. A function's name may be anything that its caller
/// has sent, and a message may quote two signatures.
pub(crate) const MAX_SHOWN: usize = 512;

#[derive(Debug, Default)]
struct LastFailed {
    /// How many there have been.
    n: u64,
    calls: VecDeque<Arc<FailedCall>>,
}

impl FailedCalls {
    /// Notes that a call has failed with `error`. `node` is the one that had it.
    pub(super) fn note(&self, header: &CallHeader, node: Option<&str>, error: &Error) {
        // Only the HTTP server shows them.
        if !cfg!(feature = "http") {
            return;
        }
        let line = |text: &str| one_line(text, MAX_SHOWN).into_owned();
        let since_1970 = UNIX_EPOCH.elapsed().unwrap_or_default();
        let mut call = FailedCall {
            number: 0,
            at_ms: since_1970.as_millis() as u64,
            function: line(&header.function),
            kind: error.kind(),
            executed: error.executed(),
            node: error.node().or(node).map(line),
            identity: header.caller.as_ref().map(|it| line(&it.identity)).unwrap_or_default(),
            message: line(&error.chain().to_string()),
        };
        let mut last = self.0.lock();
        last.n += 1;
        call.number = last.n;
        if last.calls.len() == KEPT {
            last.calls.pop_front();
        }
        last.calls.push_back(Arc::new(call));
    }

    /// Returns the calls that have failed last, the oldest first.
    #[cfg_attr(not(feature = "http"), allow(dead_code))]
    pub(in crate::gateway) fn last(&self) -> Vec<Arc<FailedCall>> {
        self.0.lock().calls.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::codec::Codec;
    use crate::wire::kind::Kind;

    #[test]
    #[cfg(feature = "http")]
    fn the_last_calls_are_kept_as_short_printable_lines() {
        let failed = FailedCalls::default();
        let header = |n| {
            let function = format!("f{n}\u{1b}[2J\n{}", "é".repeat(MAX_SHOWN));
            CallHeader::new([0; 16], function, Kind::Unary, Codec::Bincode)
        };
        for n in 1..=KEPT as u64 + 7 {
            let error = Error::new(ErrorKind::Panicked, "x\ny".repeat(1_000));
            failed.note(&header(n), Some("gpu"), &error.with_executed(Executed::Yes));
        }
        let last = failed.last();
        assert_eq!(last.len(), KEPT);
        for (call, number) in last.iter().zip(8..) {
            assert_eq!((call.number, call.executed), (number, Executed::Yes));
            assert_eq!(call.node.as_deref(), Some("gpu"));
            assert!(call.function.starts_with(&format!("f{number}[2J ")), "{}", call.function);
            for text in [&call.function, &call.message] {
                assert!(text.len() <= MAX_SHOWN && !text.chars().any(char::is_control));
            }
        }
    }
}
