//! TLS for HTTP connections to a server that is known by its name.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::certificates::{authorities, public_authorities};
use crate::transport::auth::provider::provider;

/// Makes TLS connections to one server. TLS 1.3 only, as everywhere.
#[derive(Clone)]
pub(crate) struct HttpsDialler {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for HttpsDialler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsDialler").field("name", &self.name).finish_non_exhaustive()
    }
}

impl HttpsDialler {
    /// Verifies `host` with the authorities in a PEM file, or with the public ones.
    ///
    /// # Errors
    /// `InvalidInput` if the host cannot have a certificate, or there are no authorities;
    /// `Unavailable` if the file cannot be used.
    pub(crate) fn new(host: &str, file: Option<&Path>) -> Result<Self, Error> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| {
            let text = format!("`{}` cannot have a certificate", host.escape_debug());
            Error::new(ErrorKind::InvalidInput, text).with_source(error)
        })?;
        let roots = file.map_or_else(public_authorities, authorities)?;
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| {
                Error::new(ErrorKind::Unavailable, "TLS cannot be set up").with_source(error)
            })?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), name })
    }

    /// Makes the handshake.
    ///
    /// # Errors
    /// The server does not speak TLS 1.3, or cannot be verified.
    pub(crate) async fn dial(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }
}
