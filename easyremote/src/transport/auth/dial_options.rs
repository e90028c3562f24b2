//! Options for dialling, and the TLS settings that they imply for each address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::address::{ServerAuth, Target};
use crate::transport::auth::certificates::{KeyFiles, authorities, public_authorities};
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::{Identity, SERVER_NAME};
use crate::transport::auth::tls::Expected;
use crate::wire::control::Role;
use crate::wire::limits::MAX_TIMEOUT;

/// How a client or a node reaches its gateways: timeout, trust, and credentials.
///
/// Passed to [`ClientBuilder::dial`](crate::client::ClientBuilder::dial) and
/// [`NodeBuilder::dial`](crate::node::NodeBuilder::dial). Options that are not set keep their
/// defaults, or the values of an earlier `dial` on the same builder.
///
/// ```
/// use std::time::Duration;
///
/// use easyremote::Client;
/// use easyremote::auth::DialOptions;
///
/// let patient = DialOptions::new().connect_timeout(Duration::from_secs(60));
/// let client = Client::builder("127.0.0.1:8080").dial(patient);
/// # let _ = client;
/// ```
#[derive(Clone, Debug, Default)]
#[doc(alias = "connect_options")]
#[must_use = "options do nothing until they are passed to `dial`"]
pub struct DialOptions {
    connect_timeout: Option<Duration>,
    /// Directory of the local identity, if not the user's state directory.
    state_dir: Option<PathBuf>,
    /// PEM file of the authorities that may issue a gateway's certificate.
    authority: Option<PathBuf>,
    /// The certificate that this peer presents in place of a token.
    certificate: Option<KeyFiles>,
}

/// Default of [`DialOptions::connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl DialOptions {
    /// Creates options in which nothing is set.
    ///
    /// ```
    /// use easyremote::auth::DialOptions;
    ///
    /// let options = DialOptions::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how long `connect` and `serve` try to reach a gateway, and how long a call waits to be
    /// sent; 15 s by default.
    ///
    /// A call waits in these cases:
    ///
    /// - **Disconnected.** At most 1,024 calls with 8 MiB of arguments in total wait; further calls
    ///   fail with [`ErrorKind::Overloaded`] at once. Calls that were in flight and are retried are
    ///   not limited.
    /// - **Draining.** While the only gateway [drains](crate::Gateway::drain), streams and calls of
    ///   slow functions wait until it has ended; the timeout starts then.
    /// - **At the limit.** A client may have 1,024 calls and streams open, and 1,024 small calls in
    ///   addition.
    /// - **After a loss.** For this time after a connection has been re-established, or a node or
    ///   gateway was lost, calls wait at the gateway for a node that can run them.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use easyremote::auth::DialOptions;
    ///
    /// let options = DialOptions::new().connect_timeout(Duration::from_secs(60));
    /// ```
    #[doc(alias = "timeout")]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout.min(MAX_TIMEOUT));
        self
    }

    /// Sets the PEM file of the authorities that verify gateways dialled by host name, that is with
    /// an address without a pin. No other authorities are trusted then.
    ///
    /// The file is read for each connection. Unless set, and with the crate's feature `public-ca`,
    /// the public authorities that browsers trust are used.
    ///
    /// ```
    /// use easyremote::auth::DialOptions;
    ///
    /// let options = DialOptions::new().authority("/etc/easyremote/gateway-ca.pem");
    /// ```
    #[doc(alias = "ca")]
    #[doc(alias = "root_certificate")]
    pub fn authority(mut self, file: impl AsRef<Path>) -> Self {
        self.authority = Some(file.as_ref().to_owned());
        self
    }

    /// Sets the certificate to present to gateways whose address has no token (mutual TLS).
    ///
    /// `chain` is a PEM file with the certificate followed by those of its issuers, `key` is the
    /// PEM file of its private key. Both are read for each connection, so a renewed certificate
    /// needs no restart. The gateway must trust its issuer: see
    /// [`GatewayBuilder::authority`](crate::gateway::GatewayBuilder::authority).
    ///
    /// Addresses without a token are
    ///
    /// - a ticket without it, `easyremote://host:port?pin=..`;
    /// - `easyremote://host:port`, for a gateway that presents a certificate;
    /// - the address of a gateway on this machine.
    ///
    /// ```
    /// use easyremote::auth::DialOptions;
    ///
    /// let options = DialOptions::new()
    ///     .certificate("/etc/easyremote/node.pem", "/etc/easyremote/node-key.pem");
    /// ```
    #[doc(alias = "mtls")]
    #[doc(alias = "client_certificate")]
    pub fn certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.certificate = Some(KeyFiles::new(chain.as_ref(), key.as_ref()));
        self
    }

    /// Sets the directory of the local identity; the user's state directory by default.
    ///
    /// Only used for gateways on this machine that have the same
    /// [`state_dir`](crate::gateway::GatewayBuilder::state_dir). Anyone who can read the directory
    /// can take any role there. On Unix, a file that other users can read is rejected.
    ///
    /// ```
    /// use easyremote::auth::DialOptions;
    ///
    /// let options = DialOptions::new().state_dir("/var/lib/easyremote");
    /// ```
    pub fn state_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.state_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// Returns these options, overridden by those that `other` sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            connect_timeout: other.connect_timeout.or(self.connect_timeout),
            state_dir: other.state_dir.or(self.state_dir),
            authority: other.authority.or(self.authority),
            certificate: other.certificate.or(self.certificate),
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.connect_timeout.unwrap_or(CONNECT_TIMEOUT)
    }
}

/// How to authenticate the gateway at an address, and which credential to present there.
pub(crate) struct TlsTarget<'a> {
    pub(crate) expected: Expected,
    pub(crate) server_name: &'a str,
    pub(crate) credential: Credential,
}

/// The credential that a peer presents.
pub(crate) enum Credential {
    Token(Token),
    Certificate(CertifiedKey),
}

impl DialOptions {
    /// Checks the files that `target` needs, so that a mistake is reported before dialling.
    ///
    /// # Errors
    /// Those of [`target`](Self::target).
    pub(crate) fn check(&self, target: &Target) -> Result<(), Error> {
        if target.known_by == ServerAuth::Certificate {
            self.authorities()?;
        }
        match (&target.token, &self.certificate) {
            (Some(_), _) => Ok(()),
            (None, Some(files)) => files.load().map(|_| ()),
            (None, None) if target.known_by == ServerAuth::IdentityFile => Ok(()),
            (None, None) => Err(no_credential(target)),
        }
    }

    fn authorities(&self) -> Result<RootCertStore, Error> {
        self.authority.as_deref().map_or_else(public_authorities, authorities)
    }

    /// Returns the TLS settings for `target` at `address`. Files are read each time, so that
    /// changes take effect with the next connection.
    ///
    /// # Errors
    /// `InvalidInput` if neither the address nor the options contain what is required;
    /// `Unavailable` if a file is unusable.
    pub(crate) fn target<'a>(
        &self,
        target: &'a Target,
        role: Role,
        address: SocketAddr,
    ) -> Result<TlsTarget<'a>, Error> {
        let local = || self.identity(target, role, address);
        let (expected, server_name) = match target.known_by {
            ServerAuth::IdentityFile => (Expected::Pin(local()?.pin()), SERVER_NAME),
            ServerAuth::Pin(pin) => (Expected::Pin(pin), SERVER_NAME),
            ServerAuth::Certificate => {
                (Expected::Certificate(self.authorities()?), target.server_name())
            }
        };
        let credential = match (&target.token, &self.certificate) {
            (Some((_, token)), _) => Credential::Token(token.clone()),
            (None, Some(files)) => Credential::Certificate(files.load()?),
            (None, None) if target.known_by == ServerAuth::IdentityFile => {
                Credential::Token(local()?.local_token(role))
            }
            (None, None) => return Err(no_credential(target)),
        };
        Ok(TlsTarget { expected, server_name, credential })
    }

    /// Loads the identity that this user's gateways have on this machine.
    fn identity(
        &self,
        target: &Target,
        role: Role,
        address: SocketAddr,
    ) -> Result<Identity, Error> {
        if !address.ip().is_loopback() {
            let text = format!(
                "`{target}` is not on this machine, so its key and a token are required: use a \
                 ticket for {} from the gateway instead of the bare address",
                role.described()
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Identity::load_or_create(self.state_dir.as_deref())
    }
}

fn no_credential(target: &Target) -> Error {
    let text = format!(
        "the address of `{target}` has no token: use a ticket from the gateway, or set a \
         certificate with `DialOptions::certificate`"
    );
    Error::new(ErrorKind::InvalidInput, text)
}
