//! Authorities whose certificates let peers in, in place of tokens.

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

/// For each role the authorities that say who may be of it.
pub(crate) struct Authorities {
    files: Vec<(Role, PathBuf)>,
    verifiers: RwLock<Vec<(Role, Arc<dyn ClientCertVerifier>)>>,
}

impl Authorities {
    /// # Errors
    /// `Unavailable` if a file is unusable; the text names it.
    pub(crate) fn new(files: Vec<(Role, PathBuf)>) -> Result<Self, Error> {
        let this = Self { files, verifiers: RwLock::default() };
        this.reload()?;
        Ok(this)
    }

    /// Reads the files again. If that fails, nothing has changed.
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
                    let text = format!("`{}` holds no usable authority", file.display());
                    Error::new(ErrorKind::Unavailable, text).with_source(error)
                })?,
            ));
        }
        *self.verifiers.write() = fresh;
        Ok(())
    }

    /// Whether there is one for `role`.
    pub(crate) fn vouch_for(&self, role: Role) -> bool {
        self.files.iter().any(|(of, _)| *of == role)
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The name in the certificate with which the peer has shaken hands, if an authority says that
    /// its holder may be `role`: the first DNS name, or, if there is none, the first URI.
    ///
    /// # Errors
    /// `Unauthenticated` if there is no such certificate, or no name in it.
    pub(crate) fn identify(
        &self,
        connection: &quinn::Connection,
        role: Role,
    ) -> Result<String, Error> {
        let refused = |text: String| Error::new(ErrorKind::Unauthenticated, text);
        if !self.vouch_for(role) {
            let text = format!(
                "this gateway takes no certificate for {}: use a ticket that it hands out",
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
        let what = "the certificate is not one with which this gateway lets in";
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

/// Takes whatever certificate a peer shows, if it proves by the handshake's signature that it holds
/// the key. Whether the certificate is worth anything depends on the role, which the peer has not
/// said by then: [`Authorities::identify`] decides, before the peer is let in.
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
        // Others have tokens.
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
