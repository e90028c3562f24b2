//! Certificates and authorities from PEM files, for gateways with a public host name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::identity::{Identity, SERVER_NAME};
use crate::transport::auth::provider::provider;

/// PEM files of a certificate chain and of its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyFiles {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
}

impl KeyFiles {
    pub(crate) fn new(chain: &Path, key: &Path) -> Self {
        Self { chain: chain.to_owned(), key: key.to_owned() }
    }

    /// Reads both files, and checks that the key belongs to the certificate.
    ///
    /// # Errors
    /// `Unavailable` if a file cannot be read or is invalid, or if the two do not match; the text
    /// names the file.
    pub(crate) fn load(&self) -> Result<CertifiedKey, Error> {
        let chain = certificates(&self.chain)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| match error {
            pem::Error::NoItemsFound => unusable(&self.key, "contains no private key", error),
            error => unusable(&self.key, "cannot be read as a private key", error),
        })?;
        CertifiedKey::from_der(chain, key, &provider()).map_err(|error| {
            let what =
                format!("is not the private key of the certificate in `{}`", self.chain.display());
            unusable(&self.key, &what, error)
        })
    }
}

/// Reads the certificates in a PEM file; at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |error| unusable(file, "cannot be read as certificates", error);
    let found = CertificateDer::pem_file_iter(file).map_err(unreadable)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    match found.is_empty() {
        true => Err(unusable(file, "contains no certificate", pem::Error::NoItemsFound)),
        false => Ok(found),
    }
}

/// Reads the authorities in a PEM file.
///
/// # Errors
/// `Unavailable` if it cannot be read, or contains an invalid certificate; the text names the file.
pub(crate) fn authorities(file: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(file)? {
        let bad = |error| unusable(file, "contains an invalid certificate", error);
        store.add(certificate).map_err(bad)?;
    }
    Ok(store)
}

/// Returns the authorities that browsers trust.
///
/// # Errors
/// `InvalidInput` if the crate was built without the feature `public-ca`.
#[cfg(feature = "public-ca")]
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn public_authorities() -> Result<RootCertStore, Error> {
    Ok(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() })
}

#[cfg(not(feature = "public-ca"))]
pub(crate) fn public_authorities() -> Result<RootCertStore, Error> {
    let text = "the address has no `pin`, so the gateway must present a certificate, and there are \
                no authorities to verify it: pass a file of them to `authority` on the builder, or \
                build easyremote with its feature `public-ca`";
    Err(Error::new(ErrorKind::InvalidInput, text))
}

fn unusable(
    file: &Path,
    what: &str,
    error: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    let text = format!("`{}` {what}", file.display());
    Error::new(ErrorKind::Unavailable, text).with_source(error)
}

/// Selects the certificate that a gateway presents: its own key to peers that have pinned it, and
/// the certificate from files to peers that ask for its host name.
#[cfg(feature = "gateway")]
#[derive(Debug)]
pub(crate) struct ServerCertResolver {
    own: Arc<CertifiedKey>,
    files: Option<KeyFiles>,
    named: RwLock<Option<Arc<CertifiedKey>>>,
}

#[cfg(feature = "gateway")]
impl ServerCertResolver {
    /// Loads the certificate from `files`.
    ///
    /// # Errors
    /// Those of [`KeyFiles::load`].
    pub(crate) fn new(identity: &Identity, files: Option<KeyFiles>) -> Result<Self, Error> {
        let (certificate, key) = identity.certificate()?;
        let own = CertifiedKey::from_der(vec![certificate], key, &provider()).map_err(|error| {
            Error::new(ErrorKind::Unavailable, "the gateway's key is unusable").with_source(error)
        })?;
        let shown = Self { own: Arc::new(own), files, named: RwLock::default() };
        shown.reload()?;
        Ok(shown)
    }

    /// Reads the files again. If that fails, the previous certificate stays in use.
    ///
    /// # Errors
    /// Those of [`KeyFiles::load`].
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let Some(files) = &self.files else { return Ok(()) };
        let fresh = Arc::new(files.load()?);
        *self.named.write() = Some(fresh);
        Ok(())
    }
}

#[cfg(feature = "gateway")]
impl ResolvesServerCert for ServerCertResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.server_name() == Some(SERVER_NAME) {
            return Some(self.own.clone());
        }
        let named = self.named.read();
        Some(named.as_ref().unwrap_or(&self.own).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = |name: &str| {
            let made = rcgen::generate_simple_self_signed(vec!["gw.test".into()]).unwrap();
            let chain = write(&format!("{name}.pem"), &made.cert.pem());
            (chain, write(&format!("{name}.key"), &made.signing_key.serialize_pem()))
        };
        let (chain, key) = made("a");
        let (_, other) = made("b");
        let empty = write("empty", "nothing");
        let damaged = write("damaged", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----");
        let missing = directory.path().join("missing");
        KeyFiles::new(&chain, &key).load().unwrap();
        for (chain, key, named, part) in [
            (&missing, &key, &missing, "cannot be read as certificates"),
            (&empty, &key, &empty, "contains no certificate"),
            (&damaged, &key, &damaged, "cannot be read as certificates"),
            (&chain, &missing, &missing, "cannot be read as a private key"),
            (&chain, &chain, &chain, "contains no private key"),
            (&chain, &other, &other, "is not the private key of the certificate"),
        ] {
            let error = KeyFiles::new(chain, key).load().unwrap_err().to_string();
            assert!(error.starts_with(&format!("`{}` {part}", named.display())), "{error}");
        }
        assert!(authorities(&empty).is_err() && authorities(&damaged).is_err());
    }
}
