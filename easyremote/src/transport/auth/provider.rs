//! What all that speaks TLS has in common: the cryptography, and the one version.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// The cryptography that TLS is spoken with: that of ring.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// No verifier is asked about a version that is not offered.
pub(super) fn no_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not spoken here".into())
}
