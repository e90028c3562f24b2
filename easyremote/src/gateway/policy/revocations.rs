//! Revocations, stored in a file next to the gateway's key so that they survive a restart.

use std::collections::HashSet;
#[cfg(unix)]
use std::fs::File;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::tokens::is_name;
use crate::transport::auth::private_file;
use crate::wire::control::Role;

/// A role, and the name of a token or of a certificate's subject.
pub(crate) type NameOfRole = (Role, String);

/// The file of revocations, an append-only log.
///
/// | line                    | meaning                      |
/// |-------------------------|------------------------------|
/// | `revoke client ci#1;`   | the name is revoked          |
/// | `allow client ci#1;`    | the revocation is undone     |
///
/// The last line about a name counts. A line without the final `;` was truncated, and is ignored.
/// Lines are only appended, so several gateways with one key do not lose each other's revocations.
#[derive(Debug)]
pub(crate) struct RevocationFile {
    path: PathBuf,
    /// Held while a line is appended.
    adding: Mutex<()>,
}

const FILE_NAME: &str = "revoked";

/// Terminates every line.
const END: char = ';';

/// Longer files, with more than a million lines, cannot be ours.
const MAX_FILE: u64 = 256 << 20;

impl RevocationFile {
    /// Returns the file in the directory of a gateway's key.
    pub(crate) fn within(directory: &Path) -> Self {
        Self { path: directory.join(FILE_NAME), adding: Mutex::new(()) }
    }

    /// Reads the names that are revoked; empty if the file does not exist.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read or is damaged: the gateway must not start without
    /// knowing which peers to reject.
    pub(crate) fn read(&self) -> Result<HashSet<NameOfRole>, Error> {
        let text = self.text().map_err(|error| {
            let text = format!("cannot read the revocations in `{}`", self.path.display());
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })?;
        parse(&text).ok_or_else(|| {
            let text = format!(
                "the revocations in `{}` are damaged: repair the file; without it, revoked \
                 peers would be admitted again",
                self.path.display()
            );
            Error::new(ErrorKind::Unavailable, text)
        })
    }

    /// Appends that a name is revoked, or allowed again. The line is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn add(&self, role: Role, name: &str, is_revoked: bool) -> io::Result<()> {
        let _adding = self.adding.lock();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        let verb = if is_revoked { "revoke" } else { "allow" };
        // One write, after a line break: the previous line may have been truncated.
        let line = format!("\n{verb} {} {name}{END}\n", role.name());
        file.write_all(line.as_bytes())?;
        file.sync_all()?;
        sync_directory(&self.path)
    }

    fn text(&self) -> io::Result<String> {
        let file = match private_file::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
            Err(error) => return Err(error),
        };
        // Metadata of the open file, so that it cannot be replaced in between.
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if metadata.len() > MAX_FILE {
            return Err(io::Error::other("it is longer than 256 MiB"));
        }
        let mut text = String::new();
        file.take(MAX_FILE).read_to_string(&mut text)?;
        Ok(text)
    }
}

/// Syncs the directory, so that a newly created file survives a crash.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the names that are revoked after the last line; `None` if a line is invalid.
fn parse(text: &str) -> Option<HashSet<NameOfRole>> {
    let mut revoked = HashSet::new();
    for line in text.lines().filter_map(|line| line.strip_suffix(END)) {
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
        let one = fs::read(&file.path).unwrap();
        file.add(Role::Node, "bcd", true).unwrap();
        let two = fs::read(&file.path).unwrap();
        for end in one.len()..two.len() - 2 {
            fs::write(&file.path, &two[..end]).unwrap();
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
            fs::write(&file.path, format!("revoke node a;\n{damaged}\n")).unwrap();
            let error = file.read().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{damaged}");
            assert!(error.to_string().contains("damaged"), "{error}");
        }
        fs::write(&file.path, [0xff, b';', b'\n']).unwrap();
        file.read().unwrap_err();
        fs::remove_file(&file.path).unwrap();
        fs::create_dir(&file.path).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("cannot read the revocations"));
    }

    #[cfg(unix)]
    #[test]
    fn it_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let file = RevocationFile::within(directory.path());
        file.add(Role::Node, "a", true).unwrap();
        assert_eq!(fs::metadata(&file.path).unwrap().permissions().mode() & 0o777, 0o600);
        std::os::unix::fs::symlink(&file.path, directory.path().join("link")).unwrap();
        let linked = RevocationFile { path: directory.path().join("link"), ..file };
        linked.read().unwrap_err();
    }
}
