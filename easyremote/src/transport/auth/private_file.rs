//! Files that contain secrets: read and created only where other users cannot interfere, by the
//! rules that OpenSSH applies to its keys.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

/// Reads a private file of at most `limit` bytes; `None` if it does not exist. `what` names it in
/// errors.
///
/// The file must
///
/// - be a regular file; neither a pipe nor a device blocks this function;
/// - belong to this user or to root;
/// - not be readable or writable by other users;
/// - be in a directory of this user or of root that other users cannot write to, because they could
///   replace the file.
///
/// A link is followed, and its target must fulfil the same.
///
/// # Errors
/// `Unauthenticated` if another user could have read or created it; `Unavailable` if it cannot be
/// read, with the reason.
pub(crate) fn read(
    path: &Path,
    limit: u64,
    what: &str,
) -> Result<Option<Zeroizing<String>>, Error> {
    let unusable = |error: io::Error| unusable(what, path, &error);
    // Resolve links once, so that the path that is checked is the one that is read.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
    };
    if let Some(directory) = path.parent() {
        check_directory(directory, what)?;
    }
    let file = open(&path).map_err(unusable)?;
    let metadata = file.metadata().map_err(unusable)?;
    if !metadata.is_file() {
        let text = format!("the {what} `{}` is not a regular file", path.display());
        return Err(Error::new(ErrorKind::Unavailable, text));
    }
    #[cfg(unix)]
    unix::check_file(&path, &metadata, what)?;
    let mut text = Zeroizing::new(String::new());
    match file.take(limit).read_to_string(&mut text) {
        Ok(_) => Ok(Some(text)),
        // Not UTF-8: the empty text makes the parser report a damaged file.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Zeroizing::default())),
        Err(error) => Err(unusable(error)),
    }
}

/// Creates the directory for a private file unless it exists, and checks it.
///
/// # Errors
/// As for [`read`].
pub(crate) fn prepare_directory(directory: &Path, what: &str) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        let text = format!("cannot create the directory `{}`: {error}", directory.display());
        Error::new(ErrorKind::Unavailable, text)
    })?;
    check_directory(directory, what)
}

/// Creates a file that only its owner can read; fails if it exists.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The error for a file that this process cannot use. The reason is in the text, because it says
/// what to do.
pub(crate) fn unusable(what: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot use the {what} `{}`: {error}", path.display());
    Error::new(ErrorKind::Unavailable, text)
}

/// Checks that other users cannot replace files in `directory`.
fn check_directory(directory: &Path, what: &str) -> Result<(), Error> {
    #[cfg(unix)]
    {
        let metadata =
            fs::metadata(directory).map_err(|error| unusable(what, directory, &error))?;
        unix::check_directory(directory, &metadata, what)
    }
    // Without Unix modes, the operating system protects the user's own directory.
    #[cfg(not(unix))]
    {
        let _ = (directory, what);
        Ok(())
    }
}

/// Opens a file for reading, which may turn out not to be a regular one. Does not follow a link,
/// and does not block on a pipe or a device.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // NONBLOCK: a pipe without a writer opens at once. NOCTTY: a terminal does not become the
        // controlling one. NOFOLLOW: a link is not the path that was checked.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let flags = i32::try_from(flags.bits()).unwrap_or_default();
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags);
    }
    options.open(path)
}

#[cfg(unix)]
mod unix {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use crate::error::{Error, ErrorKind};

    const READ_OR_WRITTEN_BY_OTHERS: u32 = 0o077;
    const WRITTEN_BY_OTHERS: u32 = 0o022;
    /// In a directory with this bit, users can rename and remove only their own files.
    const STICKY: u32 = 0o1000;

    pub(super) fn check_file(path: &Path, metadata: &Metadata, what: &str) -> Result<(), Error> {
        if !is_own(metadata) {
            let text = format!(
                "the {what} `{}` belongs to another user (uid {}); only this one's, or root's, is \
                 trusted",
                path.display(),
                metadata.uid()
            );
            return Err(refused(text));
        }
        if metadata.mode() & READ_OR_WRITTEN_BY_OTHERS != 0 {
            let text = format!(
                "the {what} `{}` can be read by other users; run `chmod 600` on it, or delete it \
                 to get a new one",
                path.display()
            );
            return Err(refused(text));
        }
        Ok(())
    }

    pub(super) fn check_directory(
        path: &Path,
        metadata: &Metadata,
        what: &str,
    ) -> Result<(), Error> {
        if !is_own(metadata) {
            let text = format!(
                "the directory `{}` of the {what} belongs to another user (uid {}), who could put \
                 another file in its place",
                path.display(),
                metadata.uid()
            );
            return Err(refused(text));
        }
        let mode = metadata.mode();
        if mode & WRITTEN_BY_OTHERS != 0 && mode & STICKY == 0 {
            let text = format!(
                "other users can write to the directory `{}` of the {what}, and put another file \
                 in its place; run `chmod go-w` on it",
                path.display()
            );
            return Err(refused(text));
        }
        Ok(())
    }

    /// Returns whether it belongs to this user, or to root, who can bypass the checks anyway.
    fn is_own(metadata: &Metadata) -> bool {
        metadata.uid() == 0 || metadata.uid() == rustix::process::geteuid().as_raw()
    }

    fn refused(text: String) -> Error {
        Error::new(ErrorKind::Unauthenticated, text)
    }
}
