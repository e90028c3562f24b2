//! Tokens, tickets, certificates and access rules: options of the builder, and changes at run time.

use std::net::SocketAddr;
use std::path::Path;

use crate::error::Error;
use crate::gateway::policy::access::Peers;
use crate::gateway::policy::tokens::{DEFAULT, identity_of};
use crate::gateway::{Gateway, GatewayBuilder};
use crate::transport::auth::certificates::KeyFiles;
use crate::transport::auth::ticket::Ticket;
use crate::wire::control::Role;

impl GatewayBuilder {
    /// Admits peers that hold the token called `name` as `role`.
    ///
    /// May be called several times; all tokens are valid at the same time.
    /// [`ticket_of`](Gateway::ticket_of) returns the ticket of a token.
    ///
    /// - **Default.** A role without a named token and without an [authority](Self::authority) has
    ///   a token called `default`; naming a token replaces it.
    /// - **Stable.** A token is derived from the gateway's key file and its name, so the same name
    ///   yields the same token after a restart.
    /// - **Identity.** Functions see the name as the caller's
    ///   [`identity`](crate::auth::Caller::identity), up to a `#` if it contains one: `ci#1` and
    ///   `ci#2` are two tokens of the identity `ci`.
    /// - **Rotation.** To replace a token without locking anyone out, add `ci#2`, distribute its
    ///   ticket, and revoke `ci#1`.
    /// - **End.** A token becomes invalid if its name is left out at the next start, or by
    ///   [`revoke`](Gateway::revoke). A revoked token stays invalid even if it is named at the next
    ///   start, until [`allow_again`](Gateway::allow_again).
    ///
    /// `name` consists of 1 to 128 of the characters `A-Z a-z 0-9 _ . : / - @ #`;
    /// [`serve`](Self::serve) rejects other names.
    ///
    /// Peers of the same user on the same machine find the gateway's key file themselves. They need
    /// no token, and have the identity `default`.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let builder = Gateway::builder("127.0.0.1:0");
    /// let gateway = builder.token(Role::Client, "web").token(Role::Client, "ci").serve().await?;
    /// assert_eq!(gateway.tokens(Role::Client), ["web", "ci"]);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "password")]
    #[doc(alias = "secret")]
    #[doc(alias = "api_key")]
    pub fn token(mut self, role: Role, name: impl Into<String>) -> Self {
        self.trust.tokens.push((role, name.into()));
        self
    }

    /// Presents a certificate to peers that dial the gateway by its host name.
    ///
    /// These are the peers whose ticket has [no pin](Ticket::without_pin); peers with a pin are
    /// still shown the gateway's own key. `chain` is a PEM file with the certificate followed by
    /// those of its issuers, `key` is the PEM file of its private key. Both are read when the
    /// gateway starts, and again by [`reload_certificates`](Gateway::reload_certificates).
    ///
    /// ```
    /// use easyremote::Gateway;
    ///
    /// let builder = Gateway::builder("0.0.0.0:8080")
    ///     .certificate("/etc/letsencrypt/fullchain.pem", "/etc/letsencrypt/privkey.pem");
    /// # let _ = builder;
    /// ```
    #[doc(alias = "tls")]
    #[doc(alias = "pem")]
    pub fn certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.trust.certificate = Some(KeyFiles::new(chain.as_ref(), key.as_ref()));
        self
    }

    /// Admits peers as `role` that present a certificate from an authority in the PEM file, in
    /// place of a token (mutual TLS).
    ///
    /// May be called several times. Each role has separate authorities, so clients and nodes need
    /// certificates from different ones.
    ///
    /// - **Identity.** Functions see the name in the certificate as the caller's
    ///   [`identity`](crate::auth::Caller::identity): the first DNS name of its subject alternative
    ///   names, or else the first URI. It consists of the characters of a [token's](Self::token)
    ///   name without `#`, and is not `default`.
    /// - **Validity.** The certificate must be valid for client authentication and must not have
    ///   expired.
    /// - **End.** Access ends when the certificate expires, by [`revoke`](Gateway::revoke), or when
    ///   the authority is removed from the file, which is read when the gateway starts and by
    ///   [`reload_certificates`](Gateway::reload_certificates).
    ///
    /// Peers set their certificate with
    /// [`DialOptions::certificate`](crate::auth::DialOptions::certificate).
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    ///
    /// let builder = Gateway::builder("0.0.0.0:8080")
    ///     .authority(Role::Node, "/etc/easyremote/nodes-ca.pem")
    ///     .authority(Role::Client, "/etc/easyremote/clients-ca.pem");
    /// # let _ = builder;
    /// ```
    #[doc(alias = "ca")]
    #[doc(alias = "mtls")]
    pub fn authority(mut self, role: Role, file: impl AsRef<Path>) -> Self {
        self.trust.authorities.push((role, file.as_ref().to_owned()));
        self
    }

    /// Allows `peers` to call these functions, and to apply those that are operators.
    ///
    /// `peers` are clients, or nodes whose functions make calls. Without any rule, everyone may
    /// call everything. From the first rule on, everything that no rule allows is denied: such
    /// calls fail with [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied), and the
    /// lists of functions and nodes contain only what their caller may call.
    ///
    /// A name that ends with `*`, such as `Model.*`, matches all names with that prefix; other
    /// names match exactly. [Admins](Role::Admin) may call everything. Everyone may read the
    /// gateway's lists. Its statistics, `easyremote.stats`, are for admins and for peers with a
    /// rule that names them.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    ///
    /// let gateway = Gateway::builder("127.0.0.1:0")
    ///     .token(Role::Client, "web")
    ///     .token(Role::Client, "monitor")
    ///     .may_call("web", ["Model.*", "search"])
    ///     .may_call("monitor", ["easyremote.stats"])
    ///     .may_call(Role::Node, ["*"]);
    /// ```
    #[doc(alias = "acl")]
    #[doc(alias = "permissions")]
    #[doc(alias = "authorize")]
    pub fn may_call<F: Into<String>>(
        mut self,
        peers: impl Into<Peers>,
        functions: impl IntoIterator<Item = F>,
    ) -> Self {
        self.trust.access.let_call(peers.into(), functions);
        self
    }

    /// Allows the nodes among `peers` to offer these functions.
    ///
    /// Names match as for [`may_call`](Self::may_call). From the first rule on, a node that offers
    /// a function which no rule allows is rejected with
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied), and all nodes that may
    /// offer a function share its calls.
    ///
    /// Without any rule, a function belongs to the [identity](crate::auth::Caller::identity) that
    /// was the first to offer it, while the gateway runs: nodes of that identity share its calls,
    /// and nodes of other identities are rejected. After the last token or the certificate of an
    /// identity has been [revoked](Gateway::revoke), others may offer its functions. Nodes that
    /// share functions therefore need tokens of one identity, or a rule if each has a certificate
    /// with a different name.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    ///
    /// let gpus = (Role::Node, "gpu-*");
    /// let builder = Gateway::builder("0.0.0.0:8080").may_offer(gpus, ["Model.*"]);
    /// # let _ = builder;
    /// ```
    #[doc(alias = "acl")]
    #[doc(alias = "permissions")]
    pub fn may_offer<F: Into<String>>(
        mut self,
        peers: impl Into<Peers>,
        functions: impl IntoIterator<Item = F>,
    ) -> Self {
        self.trust.access.let_offer(peers.into(), functions);
        self
    }
}

impl Gateway {
    /// Returns a ticket that admits its holder as `role`.
    ///
    /// It contains the token of that role that was added last: `default` unless tokens are
    /// [named](GatewayBuilder::token). If all tokens of the role have been [revoked](Self::revoke),
    /// the ticket is invalid.
    ///
    /// The ticket contains the address that the gateway listens on. If peers use another address,
    /// such as a public host name, replace it with [`Ticket::at`].
    ///
    /// ```
    /// use easyremote::{Client, Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let client = Client::connect(gateway.ticket(Role::Client)).await?;
    /// # drop(client);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "invite")]
    #[doc(alias = "token")]
    #[must_use]
    pub fn ticket(&self, role: Role) -> Ticket {
        let names = self.shared.tokens.names(role);
        self.make_ticket(role, names.last().map_or(DEFAULT, String::as_str))
    }

    /// Returns the ticket of the token called `name`; `None` if `role` has no such valid token.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::builder("127.0.0.1:0").token(Role::Client, "web").serve().await?;
    /// assert!(gateway.ticket_of(Role::Client, "web").is_some());
    /// assert!(gateway.ticket_of(Role::Node, "web").is_none());
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "invite")]
    #[must_use]
    pub fn ticket_of(&self, role: Role, name: &str) -> Option<Ticket> {
        let there = self.tokens(role).iter().any(|valid| valid == name);
        there.then(|| self.make_ticket(role, name))
    }

    /// Returns the names of the valid tokens of `role`, in the order in which they were added.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::builder("127.0.0.1:0").token(Role::Node, "gpu").serve().await?;
    /// assert_eq!(gateway.tokens(Role::Node), ["gpu"]);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tokens(&self, role: Role) -> Vec<String> {
        self.shared.tokens.names(role)
    }

    /// Adds a token called `name` for `role` at run time, and returns its ticket.
    ///
    /// The token is valid in addition to the others, until it is [revoked](Self::revoke) or the
    /// gateway ends. Names are as for [`GatewayBuilder::token`].
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    ///
    /// let gateway = Gateway::serve("127.0.0.1:0").await?;
    /// let ticket = gateway.add_token(Role::Client, "alice")?;
    /// println!("send this to alice: {ticket}");
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if `name` is not a valid name,
    ///   or if a token with this name is valid already.
    /// - [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) if the token was
    ///   revoked: adding it would make its old tickets valid again.
    #[doc(alias = "invite")]
    pub fn add_token(&self, role: Role, name: &str) -> Result<Ticket, Error> {
        self.shared.tokens.add(&self.shared.identity, role, name)?;
        Ok(self.make_ticket(role, name))
    }

    /// Revokes the token called `name` for `role`; returns whether there was anything to revoke.
    ///
    /// Sessions that were admitted with the token end at once: calls of those clients end, nodes
    /// get no more calls, and at the peer everything fails with
    /// [`ErrorKind::Unauthenticated`](crate::ErrorKind::Unauthenticated). If the role has an
    /// [authority](GatewayBuilder::authority), the same applies to peers whose certificate has this
    /// name.
    ///
    /// The revocation persists across restarts, even if the program still names the token, until
    /// [`allow_again`](Self::allow_again). Revocations are stored in the file `revoked` next to the
    /// gateway's key; every gateway with that key reads it when it starts. If the file cannot be
    /// written, the gateway logs an error, and the revocation ends with this gateway.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    ///
    /// let builder = Gateway::builder("127.0.0.1:0").token(Role::Client, "ci#1");
    /// # let builder = builder.state_dir(directory.path());
    /// let gateway = builder.serve().await?;
    /// gateway.add_token(Role::Client, "ci#2")?;
    /// assert!(gateway.revoke(Role::Client, "ci#1"));
    /// assert_eq!(gateway.tokens(Role::Client), ["ci#2"]);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "kick")]
    #[doc(alias = "ban")]
    #[doc(alias = "remove_token")]
    pub fn revoke(&self, role: Role, name: &str) -> bool {
        let there = self.shared.tokens.revoke(role, name);
        if there {
            tracing::info!(role = role.name(), name, "revoked");
            let identity = identity_of(name);
            let others = self.tokens(role);
            let gone = !others.iter().any(|other| identity_of(other) == identity);
            // Peers of the gateway's own user always have the identity `default`, so it keeps its
            // functions whatever is revoked.
            if role == Role::Node && gone && identity != DEFAULT {
                self.shared.dispatcher.router.disown(identity);
            }
        }
        there
    }

    /// Undoes a [revocation](Self::revoke) of `name` for `role`; returns whether it was revoked.
    ///
    /// The revocation may have been made by this gateway or by an earlier one with the same key. A
    /// token that this program has named or [added](Self::add_token) becomes valid again, with its
    /// old tickets; any other token can be added again. Certificates with this name are accepted
    /// again.
    ///
    /// ```
    /// use easyremote::{Gateway, Role};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// # let directory = tempfile::tempdir().unwrap();
    ///
    /// let builder = Gateway::builder("127.0.0.1:0").token(Role::Client, "ci");
    /// # let builder = builder.state_dir(directory.path());
    /// let gateway = builder.serve().await?;
    /// gateway.revoke(Role::Client, "ci");
    /// assert!(gateway.allow_again(Role::Client, "ci")?);
    /// assert_eq!(gateway.tokens(Role::Client), ["ci"]);
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if the file of revocations cannot
    /// be written. The name then stays revoked.
    #[doc(alias = "unrevoke")]
    #[doc(alias = "unban")]
    pub fn allow_again(&self, role: Role, name: &str) -> Result<bool, Error> {
        let allowed = self.shared.tokens.allow_again(&self.shared.identity, role, name)?;
        if allowed {
            tracing::info!(role = role.name(), name, "allowed again");
        }
        Ok(allowed)
    }

    /// Reads the files of [`GatewayBuilder::certificate`] and [`GatewayBuilder::authority`] again,
    /// for example after a renewal.
    ///
    /// New connections use the new files; open connections are not affected. Without such files
    /// this does nothing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), easyremote::Error> {
    /// let gateway = easyremote::Gateway::serve("127.0.0.1:0").await?;
    /// // For example on SIGHUP:
    /// gateway.reload_certificates()?;
    /// # gateway.shutdown().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if a file cannot be used; the
    /// message names it. The previous contents of that file stay in use.
    #[doc(alias = "renew")]
    pub fn reload_certificates(&self) -> Result<(), Error> {
        self.shared.shown.reload()?;
        self.shared.tokens.authorities().reload()
    }

    fn make_ticket(&self, role: Role, name: &str) -> Ticket {
        let host = match self.local_addr {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        };
        let identity = &self.shared.identity;
        let (pin, token) = (Some(identity.pin()), identity.token(role, name));
        Ticket { host, port: self.local_addr.port(), pin, role, token }
    }
}
