//! Options for dialling, and the TLS settings that follow from them for each address.

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

/// How a client or a node reaches its gateways: how long it dials, what it trusts, and what it shows.
///
/// For [`ClientBuilder::dial`](crate::client::ClientBuilder::dial) and
/// [`NodeBuilder::dial`](crate::node::NodeBuilder::dial). Options that are not set keep their
/// defaults, or what an earlier `dial` of the same builder has set.
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
#[must_use = "options do nothing until they are passed to `dial`"]
pub struct DialOptions {
    connect_timeout: Option<Duration>,
    /// Where the local identity is, if not in the state directory of the user.
    state_dir: Option<PathBuf>,
    /// The file of the authorities that may vouch for a gateway.
    authority: Option<PathBuf>,
    /// What the role shows in place of a token.
    certificate: Option<KeyFiles>,
}

/// Default of [`DialOptions::connect_timeout`].
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

impl DialOptions {
    /// The default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long `connect` and `serve` try to reach a gateway, and how long a call waits to be sent.
    /// 15 s unless set.
    ///
    /// A call waits while the connection is down: at most 1,024 calls with 8 MiB of arguments do,
    /// and further ones fail with [`ErrorKind::Overloaded`] at once; calls that were under way, and
    /// are made again, wait in any number. While a gateway [drains](crate::Gateway::drain) and there
    /// is no other, streams and calls of slow functions wait until it has ended, and the time begins
    /// then. A call also waits while the client has as many open as it may: 1,024 calls and streams,
    /// and 1,024 small calls beside them. For the same time after a connection has come back, or a
    /// node or gateway was lost, calls wait at the gateway for a node that can run them.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout.min(MAX_TIMEOUT));
        self
    }

    /// Verifies gateways that are dialled by name, whose address has no pin, by the authorities in
    /// a PEM file, and by no others. The file is read for each connection. Unless set, and with this
    /// crate's feature `public-ca`, the public authorities that browsers trust are used.
    pub fn authority(mut self, file: impl AsRef<Path>) -> Self {
        self.authority = Some(file.as_ref().to_owned());
        self
    }

    /// Shows the certificate in the PEM file `chain`, followed by those of its issuers, to gateways
    /// whose address has no token: see
    /// [`GatewayBuilder::authority`](crate::gateway::GatewayBuilder::authority). `key` is the PEM
    /// file of its private key. Both are read for each connection, so that a renewed certificate
    /// needs no restart.
    ///
    /// An address without a token is a ticket that lacks it, `easyremote://host:port?pin=..`, or,
    /// where the gateway is known by its own certificate, `easyremote://host:port`, or the address
    /// of a gateway on this machine.
    pub fn certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.certificate = Some(KeyFiles::new(chain.as_ref(), key.as_ref()));
        self
    }

    /// Finds the local identity in `directory` instead of the state directory of the user. Only
    /// useful for gateways on this machine that have the same
    /// [`state_dir`](crate::gateway::GatewayBuilder::state_dir). Everyone who can read the directory
    /// can take any role of this user there. On Unix a file that others can read is refused.
    pub fn state_dir(mut self, directory: impl AsRef<Path>) -> Self {
        self.state_dir = Some(directory.as_ref().to_owned());
        self
    }

    /// Sets what `other` sets, and keeps the rest.
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

/// Whom to expect at an address, and what to show there.
pub(crate) struct TlsTarget<'a> {
    pub(crate) expected: Expected,
    pub(crate) server_name: &'a str,
    pub(crate) credential: Credential,
}

/// What lets a peer in.
pub(crate) enum Credential {
    Token(Token),
    Certificate(CertifiedKey),
}

impl DialOptions {
    /// Whether the files that `target` needs can be used: better said at once than after a while of
    /// dialling.
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

    /// What holds for `target` at `address`. Files are read anew each time, so that what has
    /// changed in them counts from the next connection on.
    ///
    /// # Errors
    /// `InvalidInput` if the address and the builder lack what is needed; `Unavailable` if a file is
    /// unusable.
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

    /// The identity that this user's gateways have on this machine.
    fn identity(
        &self,
        target: &Target,
        role: Role,
        address: SocketAddr,
    ) -> Result<Identity, Error> {
        if !address.ip().is_loopback() {
            let text = format!(
                "`{target}` is not on this machine, so its key and a token are needed: use the \
                 ticket for {} that the gateway hands out, instead of the bare address",
                role.described()
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        Identity::load_or_create(self.state_dir.as_deref())
    }
}

fn no_credential(target: &Target) -> Error {
    let text = format!(
        "the address of `{target}` has no token: use a ticket that the gateway hands out, or name a \
         certificate with `DialOptions::certificate`"
    );
    Error::new(ErrorKind::InvalidInput, text)
}
