//! TLS 1.3 for both sides: the gateway presents its key or certificate, and diallers check it
//! against a pin or against authorities.

use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Error, ErrorKind};
use crate::transport::auth::authorities::Presented;
#[cfg(feature = "gateway")]
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::identity::{Pin, pin_of};
use crate::transport::auth::provider::{no_tls12, provider};

/// Both sides offer this protocol and accept no other.
const ALPN: &[u8] = b"easyremote/1";

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "TLS cannot be set up").with_source(error)
}

/// How a dialler authenticates the gateway.
#[derive(Clone, Debug)]
pub(crate) enum Expected {
    /// By the hash of its public key.
    Pin(Pin),
    /// By a certificate for its name from one of these authorities.
    Certificate(RootCertStore),
}

/// Returns the gateway's configuration; with `asks`, it requests certificates of peers.
#[cfg(feature = "gateway")]
pub(crate) fn server(
    shown: Arc<ServerCertResolver>,
    asks: bool,
) -> Result<Arc<QuicServerConfig>, Error> {
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?;
    let config = match asks {
        true => config.with_client_cert_verifier(Arc::new(Presented::new())),
        false => config.with_no_client_auth(),
    };
    let mut config = config.with_cert_resolver(shown);
    config.alpn_protocols = vec![ALPN.to_vec()];
    // 0-RTT data can be replayed by anyone who saw it, and a replayed call would run twice.
    config.max_early_data_size = 0;
    // Without session resumption, every peer presents its credentials on each connection.
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(QuicServerConfig::try_from(config).map_err(unusable)?))
}

/// Returns a dialler's configuration; `own` is the certificate that it presents on request.
pub(crate) fn client(
    expected: Expected,
    own: Option<CertifiedKey>,
) -> Result<Arc<QuicClientConfig>, Error> {
    let provider = provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?;
    let config = match expected {
        Expected::Pin(pin) => config
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinVerifier { pin, algorithms })),
        Expected::Certificate(authorities) => config.with_root_certificates(authorities),
    };
    let mut config = match own {
        Some(own) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(QuicClientConfig::try_from(config).map_err(unusable)?))
}

/// Accepts a certificate if its key has the pinned hash *and* the handshake's signature proves that
/// the peer holds that key. Without the second check, a copied certificate would pass.
///
/// Names and dates are not checked: the pin is sufficient.
#[derive(Debug)]
struct PinVerifier {
    pin: Pin,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if pin_of(&certificate.subject_public_key_info()) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
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
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(all(test, feature = "gateway"))]
mod tests;
