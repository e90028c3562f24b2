//! What all TLS code shares: the cryptography provider, and the single supported version.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// Returns the cryptography provider, which is ring.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The error of verifiers for TLS 1.2, which is never negotiated.
pub(super) fn no_tls12() -> rustls::Error {
    rustls::Error::General("TLS 1.2 is not supported".into())
}
