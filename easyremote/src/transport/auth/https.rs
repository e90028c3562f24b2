//! TLS for HTTP connections, with a certificate from files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::certificates::KeyFiles;
use crate::transport::auth::provider::provider;

/// Makes TLS connections out of TCP connections. TLS 1.3 only, as everywhere.
#[derive(Clone)]
pub(crate) struct HttpsAcceptor {
    acceptor: TlsAcceptor,
    shown: Arc<ShownCertificate>,
}

impl std::fmt::Debug for HttpsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsAcceptor").field("shown", &self.shown).finish_non_exhaustive()
    }
}

/// The certificate that all connections are shown.
#[derive(Debug)]
struct ShownCertificate {
    files: KeyFiles,
    key: RwLock<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ShownCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key.read().clone())
    }
}

impl HttpsAcceptor {
    /// Reads the two PEM files.
    ///
    /// # Errors
    /// Those of [`KeyFiles::load`].
    pub(crate) fn new((chain, key): &(PathBuf, PathBuf)) -> Result<Self, Error> {
        let files = KeyFiles::new(Path::new(chain), Path::new(key));
        let key = RwLock::new(Arc::new(files.load()?));
        let shown = Arc::new(ShownCertificate { files, key });
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "TLS cannot be set up").with_source(error)
            })?;
        let mut config = config.with_no_client_auth().with_cert_resolver(shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.max_early_data_size = 0;
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)), shown })
    }

    /// Reads the files again, for new connections. If that fails, the previous certificate stays in
    /// use.
    ///
    /// # Errors
    /// Those of [`KeyFiles::load`].
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let fresh = Arc::new(self.shown.files.load()?);
        *self.shown.key.write() = fresh;
        Ok(())
    }

    /// Makes the handshake.
    ///
    /// # Errors
    /// The client does not speak TLS 1.3, or has gone.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(stream).await
    }
}
