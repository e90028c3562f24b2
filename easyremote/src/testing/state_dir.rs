//! A directory for the identity of one test.

use std::io;
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use crate::error::{Error, ErrorKind};
use crate::transport::auth::identity::random;

/// A directory that only its owner can enter, removed with all that is in it when this is dropped.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Makes one below the system's directory for temporary files.
    ///
    /// # Errors
    /// `Unavailable` if that cannot be written to.
    pub(super) fn new() -> Result<Self, Error> {
        let unique = u64::from_be_bytes(random()?);
        let path = env::temp_dir().join(format!("easyremote-{}-{unique:016x}", process::id()));
        // Fails if somebody was there first: it must not be a directory of somebody else's.
        create(&path).map_err(|error| {
            let text = format!("cannot make the temporary directory `{}`", path.display());
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the system's directory.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_directory_of_its_own_and_removes_it() {
        let (one, two) = (StateDir::new().unwrap(), StateDir::new().unwrap());
        assert_ne!(one.path(), two.path());
        let path = one.path().to_owned();
        fs::write(path.join("file"), "text").unwrap();
        drop(one);
        assert!(!path.exists() && two.path().exists());
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_enter_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = StateDir::new().unwrap();
        let mode = fs::metadata(directory.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
