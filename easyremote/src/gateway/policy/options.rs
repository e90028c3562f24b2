//! Whom a gateway lets in: its options, and what can be changed while it runs.

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
    /// Lets in who holds the token called `name` as `role`, whose ticket is
    /// [`ticket_of`](Gateway::ticket_of) that name. May be given several times: all of them are
    /// valid, side by side.
    ///
    /// A role for which neither a token nor an [authority](Self::authority) is named has a token
    /// called `default`; naming one takes its place. Tokens are made from the gateway's key file
    /// and their names: the same name gives the same token after a restart. A token ends with its
    /// name being left out, or with [`revoke`](Gateway::revoke): then it stays invalid, also if it is
    /// named here when the gateway starts again, until [`allow_again`](Gateway::allow_again).
    ///
    /// Functions see the name as the caller's [`identity`](crate::auth::Caller::identity), up to a `#` if
    /// there is one: `ci#1` and `ci#2` are two tokens of the identity `ci`. So a token is replaced
    /// without anybody being shut out: add `ci#2`, hand out its ticket, revoke `ci#1`.
    ///
    /// `name` has 1 to 128 of `A-Z a-z 0-9 _ . : / - @ #`; [`serve`](Self::serve) refuses others.
    /// Peers that find the gateway's key file by themselves, those of its own user on its own
    /// machine, need no token, and have the identity `default`.
    pub fn token(mut self, role: Role, name: impl Into<String>) -> Self {
        self.trust.tokens.push((role, name.into()));
        self
    }

    /// Shows the certificate in the PEM file `chain`, with those of its issuers behind it, to peers
    /// that dial the gateway by name: those whose ticket has [no pin](Ticket::without_pin). `key`
    /// is the PEM file of its private key. Both are read when the gateway starts, and again with
    /// [`reload_certificates`](Gateway::reload_certificates).
    ///
    /// Peers with a pin are shown the gateway's own key, as ever.
    pub fn certificate(mut self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        self.trust.certificate = Some(KeyFiles::new(chain.as_ref(), key.as_ref()));
        self
    }

    /// Lets in as `role`, in place of a token, who shows a certificate from one of the authorities
    /// in the PEM file. May be given several times. Each role has authorities of its own: whoever
    /// is to be a client has a certificate from another one than a node.
    ///
    /// Functions see the name in the certificate as the caller's
    /// [`identity`](crate::auth::Caller::identity): the first DNS name of its subject alternative names,
    /// or the first URI if there is none, of the characters of a [token's](Self::token) name
    /// without `#`, and not `default`. Certificates are for client authentication and not out of
    /// date. They end with their date, with [`revoke`](Gateway::revoke), or with their authority
    /// being taken out of the file, which is read when the gateway starts and with
    /// [`reload_certificates`](Gateway::reload_certificates).
    ///
    /// Peers show theirs with [`DialOptions::certificate`](crate::auth::DialOptions::certificate).
    pub fn authority(mut self, role: Role, file: impl AsRef<Path>) -> Self {
        self.trust.authorities.push((role, file.as_ref().to_owned()));
        self
    }

    /// Lets `peers` call these functions, clients as well as the functions of nodes. While no rule
    /// is given, everyone may call everything; with the first one, what no rule allows is denied:
    /// such calls fail with [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied),
    /// and the lists that a caller gets of functions and nodes hold only what it may call.
    ///
    /// A name that ends with `*` stands for all that begin like it, such as `Model.*`; others are
    /// exact. [Admins](Role::Admin) may call everything. The gateway's own lists are for everyone;
    /// its statistics, `easyremote.stats`, are for admins and for those to whom a rule allows them
    /// by name.
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
    pub fn may_call<F: Into<String>>(
        mut self,
        peers: impl Into<Peers>,
        functions: impl IntoIterator<Item = F>,
    ) -> Self {
        self.trust.access.let_call(peers.into(), functions);
        self
    }

    /// Lets the nodes among `peers` offer these functions; names as for
    /// [`may_call`](Self::may_call). With the first such rule, a node that offers anything that no
    /// rule allows it is refused, with
    /// [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied), and all that are
    /// allowed a function share its calls.
    ///
    /// While no such rule is given, a function belongs to the [identity](crate::auth::Caller::identity)
    /// that was the first to offer it, for as long as the gateway runs: any number of nodes of that
    /// identity share its calls, and nodes of another are refused. Once an identity's last token,
    /// or its certificate, is [revoked](Gateway::revoke), others may have its functions. So nodes
    /// that share functions need tokens of one identity, or, if each has a certificate with a name
    /// of its own, a rule: `may_offer((Role::Node, "gpu-*"), ["Model.*"])`.
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
    /// A ticket that lets its holder be `role` here, with the token of that role that was added
    /// last: `default` unless tokens are [named](GatewayBuilder::token). If all of the role's
    /// tokens have been [revoked](Self::revoke), the ticket is of no use.
    ///
    /// It names the address that the gateway listens on. Where peers reach it by another name,
    /// such as that of a public host, give it that with [`Ticket::at`].
    #[must_use]
    pub fn ticket(&self, role: Role) -> Ticket {
        let names = self.shared.tokens.names(role);
        self.make_ticket(role, names.last().map_or(DEFAULT, String::as_str))
    }

    /// The ticket of the token called `name`, if there is such a token for `role`.
    #[must_use]
    pub fn ticket_of(&self, role: Role, name: &str) -> Option<Ticket> {
        let there = self.tokens(role).iter().any(|valid| valid == name);
        there.then(|| self.make_ticket(role, name))
    }

    /// The names of the tokens with which peers are let in as `role`, in the order in which they
    /// were added.
    #[must_use]
    pub fn tokens(&self, role: Role) -> Vec<String> {
        self.shared.tokens.names(role)
    }

    /// Lets in who holds the token called `name` as `role`, beside those that are valid already,
    /// and gives its ticket. See [`GatewayBuilder::token`] for names. It is valid until it is
    /// revoked or the gateway ends.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if `name` is no name, or that of a token
    /// that is valid already; [`ErrorKind::PermissionDenied`](crate::ErrorKind::PermissionDenied) if
    /// it is that of one that was revoked, whose tickets would be good again.
    pub fn add_token(&self, role: Role, name: &str) -> Result<Ticket, Error> {
        self.shared.tokens.add(&self.shared.identity, role, name)?;
        Ok(self.make_ticket(role, name))
    }

    /// Lets nobody in any more with the token called `name` as `role`, and ends the sessions of
    /// those who came with it, at once: their calls end, nodes among them get none, and all of it
    /// fails with [`ErrorKind::Unauthenticated`](crate::ErrorKind::Unauthenticated) there. Says
    /// whether there was such a token. If the role has an [authority](GatewayBuilder::authority),
    /// the same holds for those whose certificate has this name.
    ///
    /// It stays revoked, also after a restart and if the program still names it, until
    /// [`allow_again`](Self::allow_again) takes that back. Revocations are kept in the file `revoked`
    /// beside the gateway's key, and hold for all gateways with that key as they start. If the file
    /// cannot be written, an error is logged, and the revocation ends with this gateway.
    pub fn revoke(&self, role: Role, name: &str) -> bool {
        let there = self.shared.tokens.revoke(role, name);
        if there {
            tracing::info!(role = role.name(), name, "revoked");
            let identity = identity_of(name);
            let others = self.tokens(role);
            let gone = !others.iter().any(|other| identity_of(other) == identity);
            // Those of the gateway's own user are `default`, whatever is revoked.
            if role == Role::Node && gone && identity != DEFAULT {
                self.shared.dispatcher.router.disown(identity);
            }
        }
        there
    }

    /// Takes back that the token called `name`, and certificates with this name, were
    /// [revoked](Self::revoke) for `role`: by this gateway or an earlier one with its key. Says
    /// whether they were. A token that this program has named, or has
    /// [added](Self::add_token), is valid again, with the tickets of old; any other can be added.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if that cannot be written to the
    /// file of revocations. Then it stays revoked.
    pub fn allow_again(&self, role: Role, name: &str) -> Result<bool, Error> {
        let allowed = self.shared.tokens.allow_again(&self.shared.identity, role, name)?;
        if allowed {
            tracing::info!(role = role.name(), name, "allowed again");
        }
        Ok(allowed)
    }

    /// Reads the files of [`GatewayBuilder::certificate`] and [`GatewayBuilder::authority`] again,
    /// as after a renewal. It counts for peers that come later; connections that are open stay.
    /// Without such files it does nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) if a file cannot be used; the text
    /// names it, and what it held before still counts.
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
