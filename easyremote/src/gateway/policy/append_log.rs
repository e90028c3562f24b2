//! Append-only files beside the gateway's key, which outlive the gateway.

#[cfg(unix)]
use std::fs::File;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::transport::auth::private_file;

/// A file of entries, one per line.
///
/// A line without the final `;` was truncated, and is ignored. Lines are only appended, so several
/// gateways with one key do not lose each other's entries.
#[derive(Debug)]
pub(super) struct AppendLog {
    path: PathBuf,
    /// Held while a line is appended.
    adding: Mutex<()>,
}

/// Terminates every line.
const END: char = ';';

/// Longer files, with more than a million lines, cannot be ours.
const MAX_FILE: u64 = 256 << 20;

impl AppendLog {
    /// Returns the file called `name` in the directory of a gateway's key.
    pub(super) fn within(directory: &Path, name: &str) -> Self {
        Self { path: directory.join(name), adding: Mutex::new(()) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an entry. The line is on disk when this returns.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn add(&self, entry: &str) -> io::Result<()> {
        let _adding = self.adding.lock();
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&self.path)?;
        // One write, after a line break: the previous line may have been truncated.
        file.write_all(format!("\n{entry}{END}\n").as_bytes())?;
        file.sync_all()?;
        sync_directory(&self.path)
    }

    /// Returns the text of the file; empty if it does not exist.
    ///
    /// # Errors
    /// The file cannot be read, or cannot be ours.
    pub(super) fn text(&self) -> io::Result<String> {
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

/// Returns the entries of a file with this text.
pub(super) fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.strip_suffix(END))
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
