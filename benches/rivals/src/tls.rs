//! One certificate for all: a self-signed one for `localhost`, made anew for each set of processes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The name in the certificate.
pub const NAME: &str = "localhost";

/// Files of a directory.
pub const CERTIFICATE: &str = "certificate.pem";
pub const KEY: &str = "key.pem";

/// Writes a certificate and its key into `directory`.
pub fn create(directory: &Path) -> Result<()> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    fs::write(directory.join(CERTIFICATE), made.cert.pem())?;
    fs::write(directory.join(KEY), made.signing_key.serialize_pem())?;
    Ok(())
}

/// The same cryptography for all that are written in Rust, whatever their own default is.
pub fn choose_provider() {
    // Fails only if it has been chosen before, and then it is this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// A server that shows the certificate.
pub fn server(directory: &Path, protocol: &[u8]) -> Result<rustls::ServerConfig> {
    let key = PrivateKeyDer::from_pem_file(directory.join(KEY)).context("reading the key")?;
    let mut config =
        rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_no_client_auth()
            .with_single_cert(vec![certificate(directory)?], key)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// A client that takes this certificate, and no other.
pub fn client(directory: &Path, protocol: &[u8]) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate(directory)?)?;
    let mut config =
        rustls::ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

/// The same for a protocol over TCP.
pub fn connector(directory: &Path, protocol: &[u8]) -> Result<tokio_rustls::TlsConnector> {
    Ok(Arc::new(client(directory, protocol)?).into())
}

/// The same for a protocol over TCP.
pub fn acceptor(directory: &Path, protocol: &[u8]) -> Result<tokio_rustls::TlsAcceptor> {
    Ok(Arc::new(server(directory, protocol)?).into())
}

fn certificate(directory: &Path) -> Result<CertificateDer<'static>> {
    CertificateDer::from_pem_file(directory.join(CERTIFICATE)).context("reading the certificate")
}
