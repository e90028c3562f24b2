//! Revocations, stored in a file next to the gateway's key so that they survive a restart.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::append_log::{AppendLog, entries};
use crate::gateway::policy::tokens::is_name;
use crate::wire::control::Role;

/// A role, and the name of a token or of a certificate's subject.
pub(crate) type NameOfRole = (Role, String);

/// The file of revocations.
///
/// | line                    | meaning                      |
/// |-------------------------|------------------------------|
/// | `revoke client ci#1;`   | the name is revoked          |
/// | `allow client ci#1;`    | the revocation is undone     |
///
/// The last line about a name counts.
#[derive(Debug)]
pub(crate) struct RevocationFile(AppendLog);

const FILE_NAME: &str = "revoked";

impl RevocationFile {
    /// Returns the file in the directory of a gateway's key.
    pub(crate) fn within(directory: &Path) -> Self {
        Self(AppendLog::within(directory, FILE_NAME))
    }

    /// Reads the names that are revoked; empty if the file does not exist.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read or is damaged: the gateway must not start without
    /// knowing which peers to reject.
    pub(crate) fn read(&self) -> Result<HashSet<NameOfRole>, Error> {
        let text = self.0.text().map_err(|error| {
            let text = format!("cannot read the revocations in `{}`", self.0.path().display());
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })?;
        parse(&text).ok_or_else(|| {
            let text = format!(
                "the revocations in `{}` are damaged: repair the file; without it, revoked \
                 peers would be admitted again",
                self.0.path().display()
            );
            Error::new(ErrorKind::Unavailable, text)
        })
    }

    /// Appends that a name is revoked, or allowed again. The line is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&self, role: Role, name: &str, is_revoked: bool) -> io::Result<()> {
        let verb = if is_revoked { "revoke" } else { "allow" };
        self.0.add(&format!("{verb} {} {name}", role.name()))
    }
}

/// Returns the names that are revoked after the last line; `None` if a line is invalid.
fn parse(text: &str) -> Option<HashSet<NameOfRole>> {
    let mut revoked = HashSet::new();
    for line in entries(text) {
        match entry(line)? {
            (true, name) => drop(revoked.insert(name)),
            (false, name) => drop(revoked.remove(&name)),
        }
    }
    Some(revoked)
}

fn entry(line: &str) -> Option<(bool, NameOfRole)> {
    let (verb, rest) = line.split_once(' ')?;
    let (role, name) = rest.split_once(' ')?;
    let is_revoked = match verb {
        "revoke" => true,
        "allow" => false,
        _ => return None,
    };
    let role = Role::ALL.into_iter().find(|known| known.name() == role)?;
    is_name(name).then(|| (is_revoked, (role, name.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(revoked: &[(Role, &str)]) -> HashSet<NameOfRole> {
        revoked.iter().map(|(role, name)| (*role, (*name).to_owned())).collect()
    }

    #[test]
    fn the_last_word_about_a_name_counts() {
        let directory = tempfile::tempdir().unwrap();
        let file = RevocationFile::within(directory.path());
        assert_eq!(file.read().unwrap(), names(&[]));
        for role in Role::ALL {
            file.add(role, "default", true).unwrap();
        }
        // Another gateway with the same key.
        RevocationFile::within(directory.path()).add(Role::Node, "gpu#2", true).unwrap();
        file.add(Role::Client, "default", false).unwrap();
        file.add(Role::Admin, "default", false).unwrap();
        file.add(Role::Admin, "default", true).unwrap();
        let revoked = [(Role::Node, "default"), (Role::Node, "gpu#2"), (Role::Admin, "default")];
        assert_eq!(file.read().unwrap(), names(&revoked));
    }

    #[test]
    fn a_line_that_was_cut_off_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let file = RevocationFile::within(directory.path());
        file.add(Role::Node, "a", true).unwrap();
        let one = fs::read(file.0.path()).unwrap();
        file.add(Role::Node, "bcd", true).unwrap();
        let two = fs::read(file.0.path()).unwrap();
        for end in one.len()..two.len() - 2 {
            fs::write(file.0.path(), &two[..end]).unwrap();
            file.add(Role::Client, "e", true).unwrap();
            let revoked = names(&[(Role::Node, "a"), (Role::Client, "e")]);
            assert_eq!(file.read().unwrap(), revoked, "cut at {end}");
        }
    }

    #[test]
    fn what_is_damaged_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let file = RevocationFile::within(directory.path());
        for damaged in ["revoke boss a;", "revoke client a b;", "forget client a;", "revoke;", ";"]
        {
            fs::write(file.0.path(), format!("revoke node a;\n{damaged}\n")).unwrap();
            let error = file.read().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{damaged}");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
        fs::write(file.0.path(), [0xff, b';', b'\n']).unwrap();
        file.read().unwrap_err();
        fs::remove_file(file.0.path()).unwrap();
        fs::create_dir(file.0.path()).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("cannot read the revocations"));
    }

    #[cfg(unix)]
    #[test]
    fn it_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = RevocationFile::within(directory.path());
        file.add(Role::Node, "a", true).unwrap();
        assert_eq!(fs::metadata(file.0.path()).unwrap().permissions().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(file.0.path(), directory.path().join("link")).unwrap();
        let linked = RevocationFile(AppendLog::within(directory.path(), "link"));
        linked.read().unwrap_err();
    }
}
