//! How a command ends: exit codes, and what is said of a failure.

use std::error::Error as _;

use easyremote::client::JsonError;
use easyremote::{CallError, Error, ErrorKind, Executed};
use serde_json::{Value, json};

use crate::json_text::escaped;

/// The exit codes, as `--help` shows them.
pub(crate) const HELP: &str = "\
Exit codes:
    0  done; also if the reader of a pipe has left
    1  the function returned its own error, or the call failed in a way that has no other code
    2  wrong usage: an option, an address, arguments that do not fit the function
    3  no gateway can be reached (Unavailable)
    4  refused: Unauthenticated, PermissionDenied
    5  nothing of this name: NoSuchFunction, NoNode, NoSuchJob
    6  the deadline has passed (DeadlineExceeded)
    7  the call failed, and the function may have run (executed: Maybe)
  130  interrupted by Ctrl-C, 143 by SIGTERM: the call is cancelled at its node

Errors are on standard error, with --json as an object {kind, executed, message, ..} on one line.";

pub(crate) const OK: u8 = 0;
pub(crate) const FAILED: u8 = 1;
pub(crate) const USAGE: u8 = 2;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const REFUSED: u8 = 4;
pub(crate) const NOT_THERE: u8 = 5;
pub(crate) const LATE: u8 = 6;
pub(crate) const MAYBE: u8 = 7;
/// 128 and the number of SIGINT, as shells report it.
pub(crate) const INTERRUPTED: u8 = 130;
/// 128 and the number of SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// Why a command has ended without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The function's own error.
    Function(Value),
    /// The library's error.
    Remote(Error),
    /// A mistake in the options or arguments.
    Usage(String),
    /// This machine could not do something.
    Local(String),
    /// What failed has been said already.
    Told(u8),
    /// A signal, with its exit code.
    Signal(u8),
    /// The reader of standard output has left.
    ClosedPipe,
}

impl Failure {
    /// The exit code.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Function(_) | Self::Local(_) => FAILED,
            Self::Remote(error) => code_of(error.kind(), error.executed()),
            Self::Usage(_) => USAGE,
            Self::Told(code) | Self::Signal(code) => *code,
            Self::ClosedPipe => OK,
        }
    }

    /// The failure as JSON; `None` if there is nothing to say.
    pub(crate) fn to_json(&self) -> Option<Value> {
        let code = self.code();
        Some(match self {
            Self::Function(error) => json!({
                "kind": "Function", "executed": "Yes", "code": code,
                "message": self.message()?, "error": error,
            }),
            Self::Remote(error) => json!({
                "kind": format!("{:?}", error.kind()),
                "executed": format!("{:?}", error.executed()),
                "code": code,
                "message": error.to_string(),
                "node": error.node(),
                "delivered": error.delivered(),
                "retry_after_ms": error.retry_after().map(|wait| wait.as_millis() as u64),
                "retryable": error.is_retryable(),
                "causes": causes(error),
            }),
            Self::Usage(_) | Self::Local(_) => json!({
                "kind": if code == USAGE { "Usage" } else { "Local" }, "executed": "No",
                "code": code, "message": self.message()?,
            }),
            Self::Told(_) | Self::Signal(_) | Self::ClosedPipe => return None,
        })
    }

    /// The failure in lines for people; the first one says what has happened.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.message().into_iter().collect();
        match self {
            Self::Function(_) => lines.push("kind: Function, executed: Yes".to_owned()),
            Self::Remote(error) => {
                let node = error.node().map(|node| format!(", node: {node}"));
                let delivered = Some(error.delivered()).filter(|items| *items > 0);
                let delivered = delivered.map(|items| format!(", delivered: {items}"));
                lines.push(format!(
                    "kind: {:?}, executed: {:?}{}{}",
                    error.kind(),
                    error.executed(),
                    node.unwrap_or_default(),
                    delivered.unwrap_or_default(),
                ));
                lines.extend(causes(error).into_iter().map(|cause| format!("cause: {cause}")));
            }
            _ => {}
        }
        lines
    }

    fn message(&self) -> Option<String> {
        match self {
            Self::Function(error) => {
                let error = escaped(error.to_string());
                Some(format!("the function returned its error: {error}"))
            }
            Self::Remote(error) => Some(error.to_string()),
            Self::Usage(text) | Self::Local(text) => Some(text.clone()),
            Self::Told(_) | Self::Signal(_) | Self::ClosedPipe => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Remote(error)
    }
}

impl From<CallError<JsonError>> for Failure {
    fn from(error: CallError<JsonError>) -> Self {
        match error {
            CallError::Function(JsonError(error)) => Self::Function(error),
            CallError::Remote(error) => Self::Remote(error),
        }
    }
}

fn code_of(kind: ErrorKind, executed: Executed) -> u8 {
    match kind {
        ErrorKind::InvalidInput | ErrorKind::BadArguments => USAGE,
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => REFUSED,
        ErrorKind::NoSuchFunction | ErrorKind::NoNode | ErrorKind::NoSuchJob => NOT_THERE,
        ErrorKind::DeadlineExceeded => LATE,
        _ if executed == Executed::Maybe => MAYBE,
        ErrorKind::Unavailable => UNREACHABLE,
        _ => FAILED,
    }
}

/// The texts of the errors below an error.
fn causes(error: &Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_tells_the_cause() {
        for (kind, code) in [
            (ErrorKind::InvalidInput, 2),
            (ErrorKind::BadArguments, 2),
            (ErrorKind::Unavailable, 3),
            (ErrorKind::Unauthenticated, 4),
            (ErrorKind::PermissionDenied, 4),
            (ErrorKind::NoSuchFunction, 5),
            (ErrorKind::NoNode, 5),
            (ErrorKind::NoSuchJob, 5),
            (ErrorKind::DeadlineExceeded, 6),
            (ErrorKind::Panicked, 1),
            (ErrorKind::Overloaded, 1),
        ] {
            assert_eq!(Failure::from(Error::new(kind, "no luck")).code(), code, "{kind:?}");
        }
        assert_eq!(code_of(ErrorKind::NodeLost, Executed::Maybe), MAYBE);
        assert_eq!(code_of(ErrorKind::NodeLost, Executed::No), FAILED);
        assert_eq!(code_of(ErrorKind::DeadlineExceeded, Executed::Maybe), LATE);
    }

    #[test]
    fn a_failure_is_one_object_or_lines_of_text() {
        let failure = Failure::from(Error::new(ErrorKind::NoNode, "no luck"));
        let object = failure.to_json().unwrap();
        assert_eq!((&object["kind"], &object["executed"]), (&json!("NoNode"), &json!("No")));
        assert_eq!(failure.lines(), ["no luck", "kind: NoNode, executed: No"]);
        let own = Failure::Function(json!({"code": 7})).to_json().unwrap();
        assert_eq!((&own["error"], &own["executed"]), (&json!({"code": 7}), &json!("Yes")));
        assert!(Failure::ClosedPipe.to_json().is_none() && Failure::ClosedPipe.lines().is_empty());
    }
}
