//! An error and its causes as one text.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;

/// Most causes that are shown. A longer chain is taken for an endless one.
const MAX_CAUSES: usize = 32;

/// Displays an [`Error`] with its causes: for logs, and for peers, which get only the text.
pub(crate) struct ErrorChain<'a>(&'a Error);

impl Error {
    /// Returns the error with its causes, which its own `Display` leaves to
    /// [`source`](StdError::source).
    pub(crate) fn chain(&self) -> ErrorChain<'_> {
        ErrorChain(self)
    }
}

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.source() {
            None => self.0.fmt(f),
            cause => f.write_str(&with_causes(self.0.to_string(), cause)),
        }
    }
}

/// Appends `cause` and its own causes to `text`, each after a colon. Leaves out those that the text
/// has already: many errors write their cause, and return it as their source as well.
pub(crate) fn with_causes(
    mut text: String,
    mut cause: Option<&(dyn StdError + 'static)>,
) -> String {
    for _ in 0..MAX_CAUSES {
        let Some(error) = cause else { break };
        let shown = error.to_string();
        if !shown.is_empty() && !shows(&text, &shown) {
            text = format!("{text}: {shown}");
        }
        cause = error.source();
    }
    text
}

/// Returns whether a part of `text` between colons, or in parentheses, equals `cause`.
fn shows(text: &str, cause: &str) -> bool {
    let whole = |(at, _): (usize, &str)| {
        let (before, behind) = (&text[..at], &text[at + cause.len()..]);
        let begins = before.is_empty() || before.ends_with(": ") || before.ends_with(" (");
        begins && (behind.is_empty() || behind.starts_with(": ") || behind.starts_with(')'))
    };
    text.match_indices(cause).any(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    /// Writes its own part only, or the whole chain.
    #[derive(Clone, Debug)]
    struct Linked(&'static [&'static str], bool, Option<Box<Linked>>);

    impl Linked {
        fn new(parts: &'static [&'static str], all: bool) -> Self {
            let cause = (parts.len() > 1).then(|| Box::new(Self::new(&parts[1..], all)));
            Self(parts, all, cause)
        }
    }

    impl fmt::Display for Linked {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self.1 {
                true => f.write_str(&self.0.join(": ")),
                false => f.write_str(self.0[0]),
            }
        }
    }

    impl StdError for Linked {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            self.2.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn each_cause_is_shown_once_whoever_shows_it() {
        let chains: [&'static [&'static str]; 6] = [
            &["no config"],
            &["no config", "no such file"],
            &["cannot start", "no config", "no such file"],
            // A part of a word is not it.
            &["a start", "a", "art"],
            &["é: ü", "ü"],
            &["10 of 10", "10"],
        ];
        for parts in chains {
            for all in [true, false] {
                let cause = Linked::new(parts, all);
                let text = with_causes(cause.to_string(), cause.source());
                let error = Error::new(ErrorKind::Unavailable, "top").with_source(cause);
                let shown = match parts {
                    ["é: ü", "ü"] if !all => "é: ü".to_owned(),
                    parts => parts.join(": "),
                };
                assert_eq!(text, shown, "{parts:?}");
                assert_eq!(error.chain().to_string(), format!("top: {shown}"), "{parts:?}");
            }
        }
        let cause = Linked::new(&["file gone"], false);
        let text = "no config (file gone)".to_owned();
        assert_eq!(with_causes(text.clone(), Some(&cause)), text);
        let bare = Error::new(ErrorKind::Failed, "alone");
        assert_eq!(bare.chain().to_string(), "alone");
    }

    #[test]
    fn a_chain_without_end_is_cut() {
        #[derive(Debug)]
        struct Endless(std::sync::atomic::AtomicU32);
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let n = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                write!(f, "again {n}")
            }
        }
        impl StdError for Endless {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(self)
            }
        }
        let text = with_causes("top".to_owned(), Some(&Endless(0.into())));
        assert_eq!(text.matches("again").count(), MAX_CAUSES);
    }
}
