//! Tokens: which ones let peers in, and who they make of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, ErrorKind};
use crate::transport::auth::authorities::Authorities;
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::Identity;
use crate::wire::control::{Hello, Role, TokenId};
use crate::wire::limits::MAX_NAME;

/// The identity of peers whose token nobody has named, and of those that read the identity file.
pub(crate) const DEFAULT: &str = "default";

/// The tokens of one gateway. They are made from its secret and their names, so that there is
/// nothing to store: the same names give the same tokens after a restart.
#[derive(Debug)]
pub(crate) struct Tokens {
    list: Mutex<TokenList>,
    authorities: Authorities,
}

#[derive(Debug, Default)]
struct TokenList {
    /// In the order in which they were added.
    valid: Vec<NamedToken>,
    /// Of which neither tickets nor certificates are to be good again.
    revoked: HashSet<(Role, String)>,
    /// Those who came with a certificate; as many as the authorities give names.
    certified: HashMap<(Role, String), CancellationToken>,
}

/// A token that is valid.
#[derive(Debug)]
struct NamedToken {
    role: Role,
    /// `None` for that of the identity file.
    name: Option<String>,
    token: Token,
    id: TokenId,
    admission: Admitted,
}

/// What a peer is, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// Who it is, as functions and rules see it.
    pub(crate) identity: Arc<str>,
    /// Cancelled when it is to be let in no longer.
    pub(crate) revoked: CancellationToken,
}

impl Tokens {
    /// The tokens of these names, those of the identity file, and one called `default` for each
    /// role for which there is neither a name nor an authority.
    ///
    /// # Errors
    /// `Protocol` for what is no name, and for one that is there twice.
    pub(crate) fn new(
        identity: &Identity,
        names: &[(Role, String)],
        authorities: Authorities,
    ) -> Result<Self, Error> {
        let mut list = TokenList::default();
        for role in Role::ALL {
            list.push(role, None, identity.local_token(role));
            if !names.iter().any(|(of, _)| *of == role) && !authorities.vouch_for(role) {
                list.add(identity, role, DEFAULT)?;
            }
        }
        for (role, name) in names {
            list.add(identity, *role, name)?;
        }
        Ok(Self { list: Mutex::new(list), authorities })
    }

    /// Makes a token valid.
    ///
    /// # Errors
    /// `Protocol` if this is no name, or that of another token; `PermissionDenied` if it is that of
    /// one that was revoked.
    pub(crate) fn add(&self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        self.list().add(identity, role, name)
    }

    /// Makes a token, and the certificates of an identity of this name, invalid, and ends the
    /// sessions of those that came with it. Says whether there was anything to revoke.
    pub(crate) fn revoke(&self, role: Role, name: &str) -> bool {
        let mut list = self.list();
        let key = (role, name.to_owned());
        let found = |named: &NamedToken| named.role == role && named.name.as_deref() == Some(name);
        let token = list.valid.iter().position(found).map(|i| list.valid.remove(i));
        if token.is_none() && !self.authorities.vouch_for(role) {
            return false;
        }
        let sessions = [token.map(|named| named.admission.revoked), list.certified.remove(&key)];
        sessions.into_iter().flatten().for_each(|revoked| revoked.cancel());
        list.revoked.insert(key)
    }

    /// The authorities whose certificates let peers in.
    pub(crate) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// The names of a role's tokens, in the order in which they were added.
    pub(crate) fn names(&self, role: Role) -> Vec<String> {
        let list = self.list();
        let of_role = list.valid.iter().filter(|named| named.role == role);
        of_role.filter_map(|named| named.name.clone()).collect()
    }

    /// Who sent this greeting.
    ///
    /// # Errors
    /// `Unauthenticated` if it is nobody that may be of this role. Of a token the text does not say
    /// what is wrong with it.
    pub(crate) fn admit(
        &self,
        connection: &quinn::Connection,
        hello: &Hello,
    ) -> Result<Admitted, Error> {
        let Some(proof) = &hello.proof else {
            let name = self.authorities.identify(connection, hello.role)?;
            return self.admit_certified(hello.role, name);
        };
        let found = {
            let list = self.list();
            // The id is no secret, so it may be looked for in any way.
            let mut of_role = list.valid.iter().filter(|named| named.role == hello.role);
            let found = of_role.find(|named| named.id == proof.token);
            found.map(|named| (named.token.clone(), named.admission.clone()))
        };
        // An unknown token costs as much as a known one.
        let (token, admission) = match found {
            Some((token, admission)) => (token, Some(admission)),
            None => (Token::new([0; 32]), None),
        };
        let proven = token.verify(connection, hello.role, proof)?;
        admission.filter(|_| proven).ok_or_else(|| {
            let text = format!(
                "the token is not one for {} at this gateway, or not any more: use a ticket that \
                 it hands out",
                hello.role.described()
            );
            Error::new(ErrorKind::Unauthenticated, text)
        })
    }

    fn admit_certified(&self, role: Role, name: String) -> Result<Admitted, Error> {
        let refused = |text: String| Err(Error::new(ErrorKind::Unauthenticated, text));
        // `default` is whoever has read the gateway's own file.
        if !is_name(&name) || name.contains('#') || name == DEFAULT {
            return refused(format!("`{}` is no name for a peer", name.escape_debug()));
        }
        let mut list = self.list();
        if list.revoked.contains(&(role, name.clone())) {
            return refused(format!("the certificates of `{name}` have been revoked"));
        }
        let identity = Arc::from(name.as_str());
        let revoked = list.certified.entry((role, name)).or_default().clone();
        Ok(Admitted { identity, revoked })
    }

    fn list(&self) -> MutexGuard<'_, TokenList> {
        // Every section leaves the list whole, so a panic in one does not spoil it.
        self.list.lock()
    }
}

impl TokenList {
    fn add(&mut self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        if !is_name(name) {
            let text = format!(
                "`{}` is no name for a token: 1 to {MAX_NAME} of `A-Z a-z 0-9 _ . : / - @`, and \
                 `#` with what tells it from other tokens of the same identity",
                name.escape_debug()
            );
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        if self.revoked.contains(&(role, name.to_owned())) {
            let text = format!(
                "the token `{name}` for {} was revoked, and its tickets would be good again; take \
                 another name, such as `{}#2`",
                role.described(),
                identity_of(name)
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        let same = |named: &NamedToken| named.role == role && named.name.as_deref() == Some(name);
        if self.valid.iter().any(same) {
            let text = format!("there is a token `{name}` for {} already", role.described());
            return Err(Error::new(ErrorKind::Protocol, text));
        }
        self.push(role, Some(name.to_owned()), identity.token(role, name));
        Ok(())
    }

    fn push(&mut self, role: Role, name: Option<String>, token: Token) {
        let identity = identity_of(name.as_deref().unwrap_or(DEFAULT)).into();
        let admission = Admitted { identity, revoked: CancellationToken::new() };
        self.valid.push(NamedToken { role, name, id: token.id(), token, admission });
    }
}

/// Whom a token of this name stands for.
pub(crate) fn identity_of(name: &str) -> &str {
    name.split_once('#').map_or(name, |(identity, _)| identity)
}

/// Whether this can be the name of a token: it appears in logs, errors and rules.
fn is_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-@#".contains(&byte);
    name.len() <= MAX_NAME && name.bytes().all(fine) && !identity_of(name).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Authorities {
        Authorities::new(Vec::new()).unwrap()
    }

    fn identity() -> Identity {
        let directory = tempfile::tempdir().unwrap();
        Identity::load_or_create(Some(directory.path())).unwrap()
    }

    #[test]
    fn a_role_without_names_has_the_default_token() {
        let names = [(Role::Client, "ci#1".to_owned()), (Role::Client, "ci#2".to_owned())];
        let tokens = Tokens::new(&identity(), &names, none()).unwrap();
        assert_eq!(tokens.names(Role::Node), ["default"]);
        assert_eq!(tokens.names(Role::Client), ["ci#1", "ci#2"]);
    }

    #[test]
    fn tokens_of_one_identity_differ_in_what_follows() {
        let names = [(Role::Client, "ci#1".to_owned()), (Role::Client, "ci#2".to_owned())];
        let tokens = Tokens::new(&identity(), &names, none()).unwrap();
        let list = tokens.list();
        let [.., one, two] = &list.valid[..] else { panic!("two and more") };
        assert_ne!(one.token, two.token);
        assert_eq!((&*one.admission.identity, &*two.admission.identity), ("ci", "ci"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let identity = identity();
        let tokens = Tokens::new(&identity, &[], none()).unwrap();
        for name in ["", "#1", "a b", "a,b", "a\n", "ü", &"x".repeat(MAX_NAME + 1)] {
            let error = tokens.add(&identity, Role::Node, name).unwrap_err();
            assert!(error.to_string().contains("is no name for a token"), "{error}");
        }
        let error = tokens.add(&identity, Role::Node, DEFAULT).unwrap_err();
        assert!(error.to_string().contains("a token `default` for a node already"), "{error}");
    }

    #[test]
    fn a_revoked_name_stays_revoked() {
        let identity = identity();
        let tokens = Tokens::new(&identity, &[], none()).unwrap();
        tokens.add(&identity, Role::Node, "gpu").unwrap();
        assert!(tokens.revoke(Role::Node, "gpu"));
        assert!(!tokens.revoke(Role::Node, "gpu"));
        let error = tokens.add(&identity, Role::Node, "gpu").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        tokens.add(&identity, Role::Client, "gpu").unwrap();
        tokens.add(&identity, Role::Node, "gpu#2").unwrap();
    }
}
