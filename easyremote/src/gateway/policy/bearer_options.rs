//! Bearers of HTTP requests: made, and replaced at run time.

use std::path::Path;

use crate::error::{Error, ErrorKind};
use crate::gateway::Gateway;
use crate::gateway::policy::bearers::BearerFile;
use crate::gateway::policy::tokens::DEFAULT;
use crate::transport::auth::bearer::Bearer;
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::{Identity, default_directory};
use crate::wire::control::Role;

impl Bearer {
    /// Returns the bearer of the gateway's own user, from the gateway's key file in `state_dir`, or
    /// in the user's state directory if that is `None`. Its identity is `default`.
    ///
    /// For programs that run as the same user on the same machine as the gateway; it need not run.
    ///
    /// ```
    /// use easyremote::Role;
    /// use easyremote::auth::Bearer;
    ///
    /// # fn main() -> Result<(), easyremote::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let state_dir = Some(directory.path());
    /// let bearer = Bearer::of_this_user(Role::Admin, state_dir)?;
    /// # assert_eq!(bearer.role(), Role::Admin);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`InvalidInput`](ErrorKind::InvalidInput) for [`Role::Node`].
    /// - [`Unavailable`](ErrorKind::Unavailable) or [`Unauthenticated`](ErrorKind::Unauthenticated)
    ///   if the key file or the file of replaced bearers cannot be used.
    pub fn of_this_user(role: Role, state_dir: Option<&Path>) -> Result<Self, Error> {
        let identity = Identity::load_or_create(state_dir)?;
        let directory = state_dir.map_or_else(default_directory, |path| Ok(path.to_owned()))?;
        let generation = BearerFile::within(&directory).generation(role, DEFAULT)?;
        derive(&identity.local_token(role), role, &identity, generation)
    }
}

fn derive(
    token: &Token,
    role: Role,
    identity: &Identity,
    generation: u64,
) -> Result<Bearer, Error> {
    Bearer::derive(token, role, &identity.pin(), generation)
        .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "a node makes no HTTP requests"))
}

impl Gateway {
    /// Returns the bearer with which HTTP requests act as the identity of the token called `name`.
    ///
    /// A bearer is derived from its token: it is the same after a restart, and becomes invalid when
    /// the token is [revoked](Self::revoke) or the bearer is [replaced](Self::rotate_bearer). The
    /// same [rules](crate::gateway::GatewayBuilder::may_call) hold for it as for the token.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::builder("127.0.0.1:0").token(Role::Client, "web").serve().await?;
    /// println!("Authorization: Bearer {}", gateway.bearer(Role::Client, "web")?);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`InvalidInput`](ErrorKind::InvalidInput) if `role` is [`Role::Node`], which makes no HTTP
    ///   requests, or has no valid token of this name.
    /// - [`Unavailable`](ErrorKind::Unavailable) if the file of replaced bearers cannot be read.
    #[doc(alias = "api_key")]
    pub fn bearer(&self, role: Role, name: &str) -> Result<Bearer, Error> {
        let state = &self.shared;
        if role == Role::Node || !state.tokens.names(role).iter().any(|valid| valid == name) {
            let text = format!("{} has no valid token of this name", role.described());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let generation = state.bearers.generation(role, name)?;
        derive(&state.identity.token(role, name), role, &state.identity, generation)
    }

    /// Replaces the bearer of a token, and returns the new one. The token itself stays valid.
    ///
    /// Requests with the old bearer are refused from now on, by other gateways with the same key
    /// within a second. The change survives restarts: it is stored in the file `bearers` next to the
    /// gateway's key.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    ///
    /// let builder = Gateway::builder("127.0.0.1:0").token(Role::Client, "web");
    /// # let builder = builder.state_dir(directory.path());
    /// let gateway = builder.serve().await?;
    /// let old = gateway.bearer(Role::Client, "web")?;
    /// let new = gateway.rotate_bearer(Role::Client, "web")?;
    /// assert_ne!(old, new);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`bearer`](Self::bearer); `Unavailable` also if the file cannot be written. The old
    /// bearer then stays valid.
    #[doc(alias = "revoke")]
    pub fn rotate_bearer(&self, role: Role, name: &str) -> Result<Bearer, Error> {
        self.bearer(role, name)?;
        self.shared.bearers.rotate(role, name).map_err(|error| {
            let text = "cannot store that the bearer is replaced";
            Error::new(ErrorKind::Unavailable, text).with_source(error)
        })?;
        self.bearer(role, name)
    }
}
