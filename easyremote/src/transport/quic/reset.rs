//! Error codes of stream resets and connection closes.

use quinn::VarInt;

use crate::call::executed::Evidence;
use crate::error::printable::one_line;
use crate::error::{Error, ErrorKind, Executed};

/// Returns the code for `kind` in RESET_STREAM, STOP_SENDING and CONNECTION_CLOSE. It proves
/// nothing about the execution of a function.
pub(crate) fn code(kind: ErrorKind) -> VarInt {
    encode(kind, Evidence::Sent.executed())
}

/// Returns the code for `error`.
pub(crate) fn code_of(error: &Error) -> VarInt {
    encode(error.kind(), error.executed())
}

/// Encodes `kind * 4 + executed`. Application codes are ours to choose (RFC 9000, section 20.2).
fn encode(kind: ErrorKind, executed: Executed) -> VarInt {
    VarInt::from_u32(u32::from(kind.code()) * 4 + u32::from(executed.code()))
}

/// Returns the code of a party that cancels a call.
pub(crate) fn cancelled() -> VarInt {
    code(ErrorKind::Cancelled)
}

/// Decodes a code of the peer.
///
/// Code 0, which quinn sends for dropped streams, and unknown codes are `Cancelled` with `Maybe`.
pub(crate) fn read(code: VarInt) -> (ErrorKind, Executed) {
    let code = code.into_inner();
    match ErrorKind::from_code(code / 4) {
        Some(kind) => (kind, Executed::from_code((code % 4) as u8)),
        None => (ErrorKind::Cancelled, Evidence::Sent.executed()),
    }
}

/// Returns why a connection ended: an error of the kind that the peer sent, or else of `kind`. The
/// peer's text is quoted, because it is not known yet whether it can be trusted.
pub(crate) fn connection_error(cause: quinn::ConnectionError, kind: ErrorKind) -> Error {
    use quinn::ConnectionError as Cause;
    match cause {
        Cause::ApplicationClosed(close) => {
            let (said, _) = read(close.error_code);
            Error::new(said, closed_by_peer(&close.reason))
        }
        Cause::ConnectionClosed(close) => {
            let text = closed_by_peer(&close.reason);
            Error::new(kind, format!("{text} ({})", close.error_code))
        }
        Cause::TimedOut => Error::new(kind, "the peer has stopped responding"),
        Cause::Reset => Error::new(kind, "the peer has been restarted"),
        // This text reaches callers of a lost node: to them, "this side" is the gateway.
        Cause::LocallyClosed if kind == ErrorKind::NodeLost => {
            Error::new(kind, "the gateway closed the connection to it")
        }
        Cause::LocallyClosed => Error::new(kind, "closed by this side"),
        other => Error::new(kind, "the connection broke").with_source(other),
    }
}

/// Describes that the peer has closed the connection, with the reason that it sent.
fn closed_by_peer(reason: &[u8]) -> String {
    /// Longer than any text of this library.
    const MAX_REASON: usize = 512;
    let reason = String::from_utf8_lossy(&reason[..reason.len().min(MAX_REASON)]);
    match one_line(&reason, MAX_REASON) {
        text if text.is_empty() => "closed by the peer".to_owned(),
        text => format!("closed by the peer: {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_survive() {
        for &kind in ErrorKind::ALL {
            for executed in [Executed::No, Executed::Maybe, Executed::Yes] {
                assert_eq!(read(encode(kind, executed)), (kind, executed));
            }
        }
        assert_eq!(read(VarInt::from_u32(0)), (ErrorKind::Cancelled, Executed::Maybe));
        assert_eq!(read(VarInt::MAX), (ErrorKind::Cancelled, Executed::Maybe));
    }

    #[test]
    fn what_a_peer_says_is_short_and_quoted() {
        let error = |reason: Vec<u8>| {
            let (error_code, reason) = (code(ErrorKind::Draining), reason.into());
            let close = quinn::ApplicationClose { error_code, reason };
            connection_error(
                quinn::ConnectionError::ApplicationClosed(close),
                ErrorKind::ConnectionLost,
            )
        };
        let said = error(b"a\x1b[31mb\r\n\xe2\x80\xaec \"d\"\xff".to_vec());
        assert_eq!(said.to_string(), "closed by the peer: \"a[31mb c \\\"d\\\"\u{fffd}\"");
        assert_eq!(said.kind(), ErrorKind::Draining);
        assert_eq!(error(Vec::new()).to_string(), "closed by the peer");
        assert!(error(vec![b'x'; 10_000]).to_string().len() < 600);
    }
}
