//! The gateway's identity: a key that peers pin, and the secret that tokens come from.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use etcetera::BaseStrategy;
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::error::{Error, ErrorKind};
use crate::transport::auth::credentials::{Secret, Token};
use crate::wire::control::Role;

/// SHA-256 of a certificate's SubjectPublicKeyInfo: what peers pin (RFC 7469, section 2.4).
pub(crate) type Pin = [u8; 32];

/// An Ed25519 key and a secret, kept in one file that only its owner can read.
///
/// On loopback, gateway, node and client of one user of the operating system find the same file:
/// whoever can read it may be any of them.
#[derive(Debug)]
pub(crate) struct Identity {
    key: KeyPair,
    secret: Secret,
}

const FILE_NAME: &str = "identity";
const FIRST_LINE: &str = "easyremote identity 1";
/// More than any identity file has.
const MAX_FILE: u64 = 4 << 10;

impl Identity {
    /// The identity in `directory`, or in the user's state directory if that is `None`; made if
    /// there is none yet.
    ///
    /// The directory of the user is `easyremote` below `$XDG_STATE_HOME` or `~/.local/state` on
    /// Linux, and below the data directory elsewhere.
    ///
    /// # Errors
    /// `Unavailable` if there is no such directory or it cannot be used; `Unauthenticated` if
    /// other users can read the file.
    pub(crate) fn load_or_create(directory: Option<&Path>) -> Result<Self, Error> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => default_directory()?,
        };
        let path = directory.join(FILE_NAME);
        let failed = |error: io::Error| {
            let text = format!("cannot use the identity file `{}`", path.display());
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        };
        match File::open(&path) {
            Ok(file) => Self::read(file, &path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_directory(&directory).map_err(failed)?;
                Self::generate()?.publish(&path).map_err(failed)?;
                // Read back, not kept: another process may have been first.
                Self::read(File::open(&path).map_err(failed)?, &path)
            }
            Err(error) => Err(failed(error)),
        }
    }

    pub(crate) fn generate() -> Result<Self, Error> {
        let failed = || Error::new(ErrorKind::Unavailable, "the system gives no random numbers");
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(|_| failed())?;
        Ok(Self { key, secret: Secret::new(random::<32>()?) })
    }

    fn read(file: File, path: &Path) -> Result<Self, Error> {
        if others_can_read(&file) {
            let text = format!(
                "the identity file `{}` can be read by other users; run `chmod 600` on it, or \
                 delete it to get a new one",
                path.display()
            );
            return Err(Error::new(ErrorKind::Unauthenticated, text));
        }
        let mut text = String::new();
        let read = file.take(MAX_FILE).read_to_string(&mut text);
        read.ok().and_then(|_| Self::parse(&text)).ok_or_else(|| {
            let text = format!(
                "the identity file `{}` is damaged; delete it to get a new one",
                path.display()
            );
            Error::new(ErrorKind::Unavailable, text)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let key = BASE64.decode(lines.next()?.strip_prefix("key ")?).ok()?;
        let secret = BASE64.decode(lines.next()?.strip_prefix("secret ")?).ok()?;
        let key = PrivatePkcs8KeyDer::from(key);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519).ok()?;
        Some(Self { key, secret: Secret::new(secret.try_into().ok()?) })
    }

    /// Writes the identity at `path`, unless there is one by then.
    ///
    /// Readers see a whole file or none: it is written beside and then linked into place, which
    /// fails if the name is taken.
    fn publish(&self, path: &Path) -> io::Result<()> {
        let unique = random::<8>().map_err(io::Error::other)?;
        let beside = path.with_extension(format!("{:016x}", u64::from_be_bytes(unique)));
        let written = private_file(&beside).and_then(|mut file| {
            let key = BASE64.encode(self.key.serialized_der());
            let secret = BASE64.encode(self.secret.expose());
            write!(file, "{FIRST_LINE}\nkey {key}\nsecret {secret}\n")?;
            file.sync_all()
        });
        let linked = written.and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
        // Whatever came of it, the name beside is of no more use.
        let _ = fs::remove_file(&beside);
        linked
    }

    /// What peers pin.
    pub(crate) fn pin(&self) -> Pin {
        pin_of(&self.key.subject_public_key_info())
    }

    /// The token called `name` of peers that want to be `role`.
    pub(crate) fn token(&self, role: Role, name: &str) -> Token {
        Token::derive(&self.secret, role, name)
    }

    /// The token of peers that have this file, and want to be `role`.
    pub(crate) fn local_token(&self, role: Role) -> Token {
        Token::local(&self.secret, role)
    }

    /// A key for another purpose, the same each time.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        self.secret.derive(purpose)
    }

    /// A fresh certificate for the key, and the key.
    ///
    /// Peers look at the key only, so the certificate's name and dates are of no importance.
    pub(crate) fn certificate(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
        let certificate = CertificateParams::new(vec![SERVER_NAME.to_owned()])
            .and_then(|parameters| parameters.self_signed(&self.key))
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "cannot make a certificate").with_source(error)
            })?;
        let key = PrivatePkcs8KeyDer::from(self.key.serialized_der().to_vec());
        Ok((certificate.into(), key.into()))
    }
}

/// The name in self-signed certificates, and the one that diallers ask for.
pub(crate) const SERVER_NAME: &str = "gateway.easyremote.invalid";

/// The pin of a SubjectPublicKeyInfo.
pub(crate) fn pin_of(spki: &[u8]) -> Pin {
    let mut pin = [0; 32];
    pin.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
    pin
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Error::new(ErrorKind::Unavailable, "the operating system gives no random numbers")
    })?;
    Ok(bytes)
}

/// Where the identity of the user is, and what else a gateway keeps.
///
/// # Errors
/// `Unavailable` if the user has no home.
pub(crate) fn default_directory() -> Result<PathBuf, Error> {
    etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.state_dir().unwrap_or_else(|| base.data_dir()).join("easyremote"))
        .ok_or_else(|| {
            let text = "there is no home directory to keep the local identity in; set `HOME`, or \
                        name a directory with `state_dir` on the builder";
            Error::new(ErrorKind::Unavailable, text)
        })
}

#[cfg(unix)]
fn create_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn create_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether others than the owner may read. Where there are no such modes, the user's own
/// directory is private by the system's rules.
fn others_can_read(file: &File) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        // A file whose mode cannot be read is not trusted.
        file.metadata().map_or(true, |metadata| metadata.mode() & 0o077 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_made_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let nested = directory.path().join("a/b");
        let made = Identity::load_or_create(Some(&nested)).unwrap();
        let found = Identity::load_or_create(Some(&nested)).unwrap();
        assert_eq!(made.pin(), found.pin());
        assert_eq!(made.secret.expose(), found.secret.expose());
        assert_eq!(fs::read_dir(&nested).unwrap().count(), 1);
    }

    #[test]
    fn processes_that_start_together_agree() {
        let directory = tempfile::tempdir().unwrap();
        let pins: Vec<Pin> = std::thread::scope(|scope| {
            let load = || Identity::load_or_create(Some(directory.path())).unwrap().pin();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(pins.iter().all(|pin| *pin == pins[0]));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        Identity::load_or_create(Some(directory.path())).unwrap();
        let path = directory.path().join(FILE_NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for mode in [0o640, 0o604, 0o620, 0o602, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Identity::load_or_create(Some(directory.path())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{mode:o}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_is_made_for_it_is_the_users_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let made = directory.path().join("made");
        Identity::load_or_create(Some(&made)).unwrap();
        assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        private_file(&path).unwrap().write_all(b"easyremote identity 1\nkey x\n").unwrap();
        let error = Identity::load_or_create(Some(directory.path())).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }

    #[test]
    fn neither_secret_nor_key_is_in_debug_output() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(Some(directory.path())).unwrap();
        let text = format!("{identity:?}");
        // An Ed25519 key in PKCS #8 is 32 bytes after a header of 16 (RFC 8410, section 7).
        let seed = &identity.key.serialized_der()[16..48];
        for bytes in [identity.secret.expose().as_slice(), seed] {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for shown in [format!("{bytes:?}"), BASE64.encode(bytes), hex] {
                assert!(!text.contains(shown.trim_matches(['[', ']'])), "{text}");
            }
        }
    }
}
