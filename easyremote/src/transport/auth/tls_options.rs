//! Whom a dialler trusts, and what it shows: from its builder, and from what addresses say.

use std::net::SocketAddr;
use std::path::PathBuf;

use rustls::RootCertStore;
use rustls::sign::CertifiedKey;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::address::{ServerAuth, Target};
use crate::transport::auth::certificates::{KeyFiles, authorities, public_authorities};
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::{Identity, SERVER_NAME};
use crate::transport::auth::tls::Expected;
use crate::wire::control::Role;

/// What a builder says of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    /// Where the local identity is, if not in the state directory of the user.
    pub(crate) state_dir: Option<PathBuf>,
    /// The file of the authorities that may vouch for a gateway.
    pub(crate) authority: Option<PathBuf>,
    /// What the role shows in place of a token.
    pub(crate) certificate: Option<KeyFiles>,
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

impl TlsOptions {
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
         certificate with `certificate` on the builder"
    );
    Error::new(ErrorKind::InvalidInput, text)
}
