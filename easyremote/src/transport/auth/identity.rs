//! The gateway's identity: a key that peers pin, and the secret from which tokens are derived.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use etcetera::BaseStrategy;
#[cfg(feature = "gateway")]
use rcgen::{CertificateParams, KeyPair};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::alg_id;
#[cfg(feature = "gateway")]
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::public_key_to_spki;
#[cfg(feature = "gateway")]
use zeroize::Zeroize;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::credentials::{Secret, Token};
use crate::transport::auth::private_file;
use crate::wire::control::Role;

/// SHA-256 of a certificate's SubjectPublicKeyInfo, which peers pin (RFC 7469, section 2.4).
pub(crate) type Pin = [u8; 32];

/// An Ed25519 key and a secret, stored in one file that only its owner can read. Both are wiped
/// from memory on drop, except for copies inside the TLS library.
///
/// On loopback, the gateway, nodes and clients of one operating-system user find the same file:
/// anyone who can read it can take any role.
pub(crate) struct Identity {
    /// The key in PKCS #8 (RFC 5958).
    key: Zeroizing<Vec<u8>>,
    pin: Pin,
    secret: Secret,
}

const FILE_NAME: &str = "identity";
/// Name of the file in error messages.
const WHAT: &str = "identity file";
const FIRST_LINE: &str = "easyremote identity 1";
/// Larger than any identity file.
const MAX_FILE: u64 = 4 << 10;

impl Identity {
    /// Loads the identity in `directory`, or in the user's state directory if that is `None`;
    /// creates it if it does not exist.
    ///
    /// The user's state directory is `easyremote` below `$XDG_STATE_HOME` or `~/.local/state` on
    /// Linux, and below the data directory elsewhere.
    ///
    /// # Errors
    /// `Unavailable` if the user has no home directory, or if the directory cannot be used;
    /// `Unauthenticated` if other users can read the file, or could have created it.
    pub(crate) fn load_or_create(directory: Option<&Path>) -> Result<Self, Error> {
        let directory = match directory {
            Some(directory) => directory.to_owned(),
            None => default_directory()?,
        };
        let path = directory.join(FILE_NAME);
        if let Some(found) = Self::read(&path)? {
            return Ok(found);
        }
        private_file::prepare_directory(&directory, WHAT)?;
        let failed = |error: io::Error| private_file::unusable(WHAT, &path, &error);
        Self::generate()?.publish(&path).map_err(failed)?;
        // Read the file back: another process may have created it first.
        Self::read(&path)?.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    pub(crate) fn generate() -> Result<Self, Error> {
        let failed = || {
            Error::new(ErrorKind::Unavailable, "the operating system provides no random numbers")
        };
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| failed())?;
        let key = Zeroizing::new(key.as_ref().to_vec());
        Self::new(key, Secret::new(random::<32>()?)).ok_or_else(failed)
    }

    /// Creates the identity; `None` if `key` is not an Ed25519 key in PKCS #8.
    fn new(key: Zeroizing<Vec<u8>>, secret: Secret) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&key).ok()?;
        let pin = pin_of(&public_key_to_spki(&alg_id::ED25519, pair.public_key()));
        Some(Self { key, pin, secret })
    }

    /// Reads the identity in the file at `path`; `None` if the file does not exist.
    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(text) = private_file::read(path, MAX_FILE, WHAT)? else { return Ok(None) };
        Self::parse(&text).map(Some).ok_or_else(|| {
            let text =
                format!("the {WHAT} `{}` is damaged; delete it to get a new one", path.display());
            Error::new(ErrorKind::Unavailable, text)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return None;
        }
        let decode = |line: &str| BASE64.decode(line).ok().map(Zeroizing::new);
        let key = decode(lines.next()?.strip_prefix("key ")?)?;
        let secret = decode(lines.next()?.strip_prefix("secret ")?)?;
        let secret = Secret::new(secret.as_slice().try_into().ok()?);
        Self::new(key, secret)
    }

    /// Writes the identity to `path`, unless the file exists by then.
    ///
    /// Atomic: the file is written under a temporary name and then hard-linked, which fails if
    /// `path` exists. Readers see the whole file or none.
    fn publish(&self, path: &Path) -> io::Result<()> {
        let unique = random::<8>().map_err(io::Error::other)?;
        let beside = path.with_extension(format!("{:016x}", u64::from_be_bytes(unique)));
        let written = private_file::create(&beside).and_then(|mut file| {
            let key = Zeroizing::new(BASE64.encode(&*self.key));
            let secret = Zeroizing::new(BASE64.encode(self.secret.expose()));
            write!(file, "{FIRST_LINE}\nkey {}\nsecret {}\n", *key, *secret)?;
            file.sync_all()
        });
        let linked = written.and_then(|()| match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        });
        // The temporary name is not needed any more, whatever the outcome.
        let _ = fs::remove_file(&beside);
        linked
    }

    /// Returns the hash that peers pin.
    pub(crate) fn pin(&self) -> Pin {
        self.pin
    }

    /// Returns the token called `name` of peers with `role`.
    pub(crate) fn token(&self, role: Role, name: &str) -> Token {
        Token::derive(&self.secret, role, name)
    }

    /// Returns the token of peers with `role` that can read this file.
    pub(crate) fn local_token(&self, role: Role) -> Token {
        Token::local(&self.secret, role)
    }

    /// Derives a stable key for another purpose.
    pub(crate) fn derive(&self, purpose: &str) -> Secret {
        self.secret.derive(purpose)
    }

    /// Returns a new self-signed certificate for the key, and the key.
    ///
    /// Peers only check the key, so the certificate's name and dates do not matter.
    #[cfg(feature = "gateway")]
    pub(crate) fn certificate(
        &self,
    ) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Error> {
        let failed = |error: rcgen::Error| {
            Error::new(ErrorKind::Unavailable, "cannot create a certificate").with_source(error)
        };
        let key = PrivatePkcs8KeyDer::from(self.key.to_vec());
        let mut pair =
            KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519).map_err(failed)?;
        let certificate = CertificateParams::new(vec![SERVER_NAME.to_owned()])
            .and_then(|parameters| parameters.self_signed(&pair));
        pair.zeroize();
        Ok((certificate.map_err(failed)?.into(), key.into()))
    }
}

/// The name in self-signed certificates, and the server name that diallers ask for.
pub(crate) const SERVER_NAME: &str = "gateway.easyremote.invalid";

/// Returns the pin of a SubjectPublicKeyInfo.
pub(crate) fn pin_of(spki: &[u8]) -> Pin {
    let mut pin = [0; 32];
    pin.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
    pin
}

/// Returns cryptographically secure random bytes.
///
/// # Errors
/// `Unavailable` if the operating system provides none.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| {
        Error::new(ErrorKind::Unavailable, "the operating system provides no random numbers")
    })?;
    Ok(bytes)
}

/// Returns the user's state directory, where the identity and a gateway's other files are.
///
/// # Errors
/// `Unavailable` if the user has no home directory.
pub(crate) fn default_directory() -> Result<PathBuf, Error> {
    etcetera::choose_base_strategy()
        .ok()
        .map(|base| base.state_dir().unwrap_or_else(|| base.data_dir()).join("easyremote"))
        .ok_or_else(|| {
            let text = "there is no home directory for the local identity; set `HOME`, or pass a \
                        directory to `state_dir` on the builder";
            Error::new(ErrorKind::Unavailable, text)
        })
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
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

    /// A state of the file `identity`, and the expected error.
    #[cfg(unix)]
    fn refusal(directory: &Path) -> (ErrorKind, String) {
        let error = Identity::load_or_create(Some(directory)).unwrap_err();
        (error.kind(), error.to_string())
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_that_others_can_write_to_is_refused_unless_it_is_sticky() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let set = |mode| fs::set_permissions(&directory, fs::Permissions::from_mode(mode)).unwrap();
        // Whether the file exists yet or not.
        for made in [false, true] {
            for mode in [0o777, 0o770, 0o722, 0o702, 0o720] {
                set(mode);
                let (kind, text) = refusal(directory.path());
                assert_eq!(kind, ErrorKind::Unauthenticated, "{made} {mode:o}: {text}");
                assert!(text.contains("chmod go-w"), "{text}");
                assert_eq!(fs::read_dir(&directory).unwrap().count(), usize::from(made));
            }
            for mode in [0o755, 0o1777, 0o700] {
                set(mode);
                Identity::load_or_create(Some(directory.path())).unwrap();
                if !made {
                    fs::remove_file(directory.path().join(FILE_NAME)).unwrap();
                }
            }
            Identity::load_or_create(Some(directory.path())).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (kind, text) = refusal(directory.path());
        assert_eq!(kind, ErrorKind::Unavailable);
        assert!(text.ends_with("is not a regular file"), "{text}");
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(refusal(directory.path()).0, ErrorKind::Unavailable);
        fs::remove_dir(&path).unwrap();
        for device in ["/dev/zero", "/dev/null"] {
            std::os::unix::fs::symlink(device, &path).unwrap();
            let (_, text) = refusal(directory.path());
            assert!(text.contains("is not a regular file"), "{text}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_to_where_nobody_else_can_write() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let made = Identity::load_or_create(Some(there.path())).unwrap();
        symlink(there.path().join(FILE_NAME), here.path().join(FILE_NAME)).unwrap();
        let found = Identity::load_or_create(Some(here.path())).unwrap();
        assert_eq!(made.pin(), found.pin());
        fs::set_permissions(&there, fs::Permissions::from_mode(0o777)).unwrap();
        let (kind, text) = refusal(here.path());
        assert_eq!(kind, ErrorKind::Unauthenticated, "{text}");
        fs::remove_file(there.path().join(FILE_NAME)).unwrap();
        let (kind, text) = refusal(here.path());
        assert_eq!(kind, ErrorKind::Unavailable, "a link to nothing: {text}");
    }

    #[cfg(unix)]
    #[test]
    fn what_belongs_to_another_user_is_refused() {
        use std::os::unix::fs::{chown, symlink};
        const NOBODY: u32 = 65_534;
        let (directory, linked) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        Identity::load_or_create(Some(directory.path())).unwrap();
        let path = directory.path().join(FILE_NAME);
        if chown(&path, Some(NOBODY), None).is_err() {
            // Only root can change the owner of a file.
            return;
        }
        symlink(&path, linked.path().join(FILE_NAME)).unwrap();
        for place in [&directory, &linked] {
            let (kind, text) = refusal(place.path());
            assert_eq!(kind, ErrorKind::Unauthenticated);
            assert!(text.contains("belongs to another user (uid 65534)"), "{text}");
        }
        chown(&path, Some(0), None).unwrap();
        chown(directory.path(), Some(NOBODY), None).unwrap();
        for place in [&directory, &linked] {
            assert_eq!(refusal(place.path()).0, ErrorKind::Unauthenticated);
        }
    }

    #[test]
    fn the_reason_is_in_the_text() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        // A directory below a file: the same for root, whom no mode stops.
        let error = Identity::load_or_create(Some(&file.join("below"))).unwrap_err();
        let cause = fs::create_dir(file.join("below")).unwrap_err().to_string();
        assert!(error.to_string().ends_with(&cause), "{error}");
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
        private_file::create(&path).unwrap().write_all(b"easyremote identity 1\nkey x\n").unwrap();
        let error = Identity::load_or_create(Some(directory.path())).unwrap_err();
        assert!(error.to_string().contains("damaged"), "{error}");
    }

    #[test]
    fn neither_secret_nor_key_is_in_debug_output() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::load_or_create(Some(directory.path())).unwrap();
        let text = format!("{identity:?}");
        // An Ed25519 key in PKCS #8 is 32 bytes after a header of 16 (RFC 8410, section 7).
        let seed = &identity.key[16..48];
        for bytes in [identity.secret.expose().as_slice(), seed] {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            for shown in [format!("{bytes:?}"), BASE64.encode(bytes), hex] {
                assert!(!text.contains(shown.trim_matches(['[', ']'])), "{text}");
            }
        }
    }
}
