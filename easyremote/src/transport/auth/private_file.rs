//! Files that hold secrets: read and made only where nobody else can have a hand in them, by the
//! rules of OpenSSH for its keys.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};

/// Reads a private file of at most `limit` bytes; `None` if there is none. `what` is for errors.
///
/// It has to be a regular file of this user, or of root, that nobody else can read or write, and so
/// has the directory that it is in, but for reading: whoever can write there can put another file
/// in its place. A link is followed, and what it leads to is held to the same. Neither a pipe nor
/// a device is waited for.
///
/// # Errors
/// `Unauthenticated` if somebody else could have read or made it; `Unavailable` if it cannot be
/// read, with the reason.
pub(crate) fn read(
    path: &Path,
    limit: u64,
    what: &str,
) -> Result<Option<Zeroizing<String>>, Error> {
    let unusable = |error: io::Error| unusable(what, path, &error);
    // Links in the path are followed once, so that what is looked at is what is read.
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
        // Not text: that is for the reader to say.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(Zeroizing::default())),
        Err(error) => Err(unusable(error)),
    }
}

/// Makes the directory for a private file, unless it is there, and checks it.
///
/// # Errors
/// As for [`read`].
pub(crate) fn prepare_directory(directory: &Path, what: &str) -> Result<(), Error> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| {
        let text = format!("cannot make the directory `{}`: {error}", directory.display());
        Error::new(ErrorKind::Unavailable, text)
    })?;
    check_directory(directory, what)
}

/// Makes a file that only its owner can read, and that is not there yet.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// The error of a file that the system does not let this process use. The reason is in the text,
/// since it says what to do.
pub(crate) fn unusable(what: &str, path: &Path, error: &io::Error) -> Error {
    let text = format!("cannot use the {what} `{}`: {error}", path.display());
    Error::new(ErrorKind::Unavailable, text)
}

/// Checks that nobody else can put a file into `directory` in place of another's.
fn check_directory(directory: &Path, what: &str) -> Result<(), Error> {
    #[cfg(unix)]
    {
        let metadata =
            fs::metadata(directory).map_err(|error| unusable(what, directory, &error))?;
        unix::check_directory(directory, &metadata, what)
    }
    // Where there are no such modes, the user's own directory is private by the system's rules.
    #[cfg(not(unix))]
    {
        let _ = (directory, what);
        Ok(())
    }
}

/// Opens a file for reading, which may turn out to be no regular one. A link is not followed, and
/// neither a pipe nor a device is waited for.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        // A pipe that nobody writes to opens at once, and a terminal does not become this
        // process's. A link is none of the path that was looked at.
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
    /// In such a directory only its owner can rename and remove what is another's.
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

    /// Whether it belongs to this user, or to root, who can do as it likes anyway.
    fn is_own(metadata: &Metadata) -> bool {
        metadata.uid() == 0 || metadata.uid() == rustix::process::geteuid().as_raw()
    }

    fn refused(text: String) -> Error {
        Error::new(ErrorKind::Unauthenticated, text)
    }
}
