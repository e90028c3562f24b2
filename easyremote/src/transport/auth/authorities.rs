//! Certificate authorities whose certificates authenticate peers in place of tokens.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::DistinguishedName;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use webpki::EndEntityCert;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::certificates::authorities;
use crate::transport::auth::provider::{no_tls12, provider};
use crate::wire::control::Role;

/// The authorities that are trusted for each role.
pub(crate) struct Authorities {
    files: Vec<(Role, PathBuf)>,
    verifiers: RwLock<Vec<(Role, Arc<dyn ClientCertVerifier>)>>,
}

impl Authorities {
    /// Loads the authorities in `files`.
    ///
    /// # Errors
    /// `Unavailable` if a file is unusable; the text names it.
    pub(crate) fn new(files: Vec<(Role, PathBuf)>) -> Result<Self, Error> {
        let this = Self { files, verifiers: RwLock::default() };
        this.reload()?;
        Ok(this)
    }

    /// Reads the files again. If one fails, the previous authorities stay in use.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let mut fresh = Vec::new();
        for (role, file) in &self.files {
            let roots = Arc::new(authorities(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            fresh.push((
                *role,
                verifier.map_err(|error| {
                    let text = format!("`{}` contains no usable authority", file.display());
                    Error::new(ErrorKind::Unavailable, text).with_source(error)
                })?,
            ));
        }
        *self.verifiers.write() = fresh;
        Ok(())
    }

    /// Returns whether `role` has an authority.
    pub(crate) fn vouch_for(&self, role: Role) -> bool {
        self.files.iter().any(|(of, _)| *of == role)
    }

    /// Returns whether no role has an authority.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Returns the name in the certificate of the peer, if an authority for `role` issued it: the
    /// first DNS name, or else the first URI.
    ///
    /// # Errors
    /// `Unauthenticated` if the peer has presented no such certificate, or if it contains no name.
    pub(crate) fn identify(
        &self,
        connection: &quinn::Connection,
        role: Role,
    ) -> Result<String, Error> {
        let refused = |text: String| Error::new(ErrorKind::Unauthenticated, text);
        if !self.vouch_for(role) {
            let text = format!(
                "this gateway accepts no certificates for {}: use a ticket that it issued",
                role.described()
            );
            return Err(refused(text));
        }
        let shown = connection.peer_identity();
        let chain = shown.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
        let [own, issuers @ ..] = chain.as_deref().map_or(&[][..], Vec::as_slice) else {
            return Err(refused("there is neither a token nor a certificate".to_owned()));
        };
        let verifiers = self.verifiers.read();
        let now = UnixTime::now();
        let mut outcome = None;
        for (_, verifier) in verifiers.iter().filter(|(of, _)| *of == role) {
            outcome = Some(verifier.verify_client_cert(own, issuers, now));
            if let Some(Ok(_)) = outcome {
                return name(own).ok_or_else(|| {
                    refused("the certificate has neither a DNS name nor a URI".to_owned())
                });
            }
        }
        let why = outcome.and_then(Result::err).map_or(String::new(), |error| format!(": {error}"));
        let what = "this gateway does not accept the certificate for";
        Err(refused(format!("{what} {}{why}", role.described())))
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities").field("files", &self.files).finish_non_exhaustive()
    }
}

fn name(certificate: &CertificateDer<'_>) -> Option<String> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    let name = parsed.valid_dns_names().next().or_else(|| parsed.valid_uri_names().next());
    name.map(str::to_owned)
}

/// Accepts any client certificate if the handshake's signature proves that the peer holds its key.
/// Whether the certificate is trusted depends on the role, which the peer has not sent yet;
/// [`Authorities::identify`] checks that before the peer is admitted.
#[derive(Debug)]
pub(crate) struct Presented(WebPkiSupportedAlgorithms);

impl Presented {
    pub(crate) fn new() -> Self {
        Self(provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for Presented {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        // Peers without a certificate use tokens.
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
