//! Bearers of HTTP requests: which are valid, and how they are replaced.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::append_log::{AppendLog, entries};
use crate::gateway::policy::tokens::is_name;
use crate::wire::control::Role;

/// How many times bearers have been replaced: a file beside the gateway's key.
///
/// A line `rotate client ci#1;` replaces the bearer of a token. Several gateways with one key, and a
/// tool that rotates, share the file; a gateway reads what others have added within [`FRESH`].
#[derive(Debug)]
pub(crate) struct BearerFile {
    log: AppendLog,
    known: Mutex<Known>,
}

const FILE_NAME: &str = "bearers";

/// How long what was read counts as current.
const FRESH: Duration = Duration::from_millis(500);

/// What the file said when it was read last.
#[derive(Debug, Default)]
struct Known {
    read: Option<Instant>,
    /// `None` if the file cannot be used: all bearers are refused then.
    generations: Option<HashMap<(Role, String), u64>>,
}

impl BearerFile {
    /// Returns the file in the directory of a gateway's key.
    pub(crate) fn within(directory: &Path) -> Self {
        Self { log: AppendLog::within(directory, FILE_NAME), known: Mutex::default() }
    }

    /// Returns how many times the bearer of a token has been replaced.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read or is damaged.
    pub(crate) fn generation(&self, role: Role, name: &str) -> Result<u64, Error> {
        let mut known = self.known.lock();
        if known.read.is_none_or(|read| read.elapsed() >= FRESH) {
            known.generations = self.log.text().ok().and_then(|text| parse(&text));
            known.read = Some(Instant::now());
        }
        let Some(generations) = &known.generations else {
            let text = format!(
                "the file `{}` cannot be read or is damaged: repair it; without it, bearers that \
                 were replaced would be valid again",
                self.log.path().display()
            );
            return Err(Error::new(ErrorKind::Unavailable, text));
        };
        Ok(generations.get(&(role, name.to_owned())).copied().unwrap_or(0))
    }

    /// Replaces the bearer of a token.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn rotate(&self, role: Role, name: &str) -> io::Result<()> {
        self.log.add(&format!("rotate {} {name}", role.name()))?;
        self.known.lock().read = None;
        Ok(())
    }
}

/// Returns how often the file with this text replaces each bearer; `None` if a line is invalid.
fn parse(text: &str) -> Option<HashMap<(Role, String), u64>> {
    let mut generations = HashMap::new();
    for entry in entries(text) {
        let (role, name) = entry.strip_prefix("rotate ")?.split_once(' ')?;
        let role = Role::ALL.into_iter().find(|known| known.name() == role)?;
        if !is_name(name) {
            return None;
        }
        *generations.entry((role, name.to_owned())).or_default() += 1;
    }
    Some(generations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_replaces_one_bearer() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) =
            (BearerFile::within(directory.path()), BearerFile::within(directory.path()));
        assert_eq!(one.generation(Role::Client, "a").unwrap(), 0);
        for n in 1..4 {
            one.rotate(Role::Client, "a").unwrap();
            assert_eq!(one.generation(Role::Client, "a").unwrap(), n);
        }
        one.rotate(Role::Admin, "a").unwrap();
        assert_eq!(one.generation(Role::Client, "a#1").unwrap(), 0);
        assert_eq!(other.generation(Role::Client, "a").unwrap(), 3);
        assert_eq!(other.generation(Role::Admin, "a").unwrap(), 1);
    }

    #[test]
    fn what_is_damaged_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        for damaged in ["rotate boss a;", "rotate client;", "rotate client a b;", "forget a;", ";"]
        {
            let file = BearerFile::within(directory.path());
            std::fs::write(file.log.path(), damaged).unwrap();
            let error = file.generation(Role::Client, "a").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{damaged}");
        }
    }
}
