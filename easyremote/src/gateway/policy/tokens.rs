//! Tokens: which ones let peers in, and who they make of them.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::revocations::{NameOfRole, RevocationFile};
use crate::transport::auth::authorities::Authorities;
use crate::transport::auth::credentials::Token;
use crate::transport::auth::identity::Identity;
use crate::wire::control::{Hello, Role, TokenId};
use crate::wire::limits::MAX_NAME;

/// The identity of peers whose token nobody has named, and of those that read the identity file.
pub(crate) const DEFAULT: &str = "default";

/// The tokens of one gateway. They are made from its secret and their names, so that only those that
/// were revoked are stored: the same names give the same tokens after a restart.
#[derive(Debug)]
pub(crate) struct Tokens {
    list: Mutex<TokenList>,
    file: RevocationFile,
    authorities: Authorities,
}

#[derive(Debug, Default)]
struct TokenList {
    /// In the order in which they were added.
    valid: Vec<NamedToken>,
    /// Those that the program has named, also if they are revoked.
    named: Vec<NameOfRole>,
    /// Of which neither tickets nor certificates are good.
    revoked: HashSet<NameOfRole>,
    /// Those who came with a certificate; as many as the authorities give names.
    certified: HashMap<NameOfRole, CancellationToken>,
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
    /// role for which there is neither a name nor an authority. Those that `file` says are revoked
    /// stay so.
    ///
    /// # Errors
    /// `InvalidInput` for what is no name, and for one that is there twice; `Unavailable` if the file
    /// is of no use.
    pub(crate) fn new(
        identity: &Identity,
        names: &[(Role, String)],
        authorities: Authorities,
        file: RevocationFile,
    ) -> Result<Self, Error> {
        let mut list = TokenList { revoked: file.read()?, ..TokenList::default() };
        for role in Role::ALL {
            list.push(role, None, identity.local_token(role));
            if !names.iter().any(|(of, _)| *of == role) && !authorities.vouch_for(role) {
                list.name(identity, role, DEFAULT)?;
            }
        }
        for (role, name) in names {
            list.name(identity, *role, name)?;
        }
        Ok(Self { list: Mutex::new(list), file, authorities })
    }

    /// Makes a token valid.
    ///
    /// # Errors
    /// `InvalidInput` if this is no name, or that of another token; `PermissionDenied` if it is that of
    /// one that was revoked.
    pub(crate) fn add(&self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        self.list().add(identity, role, name)
    }

    /// Makes a token, and the certificates of an identity of this name, invalid, for good, and ends
    /// the sessions of those that came with it. Says whether there was anything to revoke.
    pub(crate) fn revoke(&self, role: Role, name: &str) -> bool {
        if !self.expel(role, name) {
            return false;
        }
        // No certificate has another name, and no token.
        if is_name(name)
            && let Err(error) = self.file.add(role, name, true)
        {
            error!(
                role = role.name(), name, %error,
                "what is revoked here will not be revoked any more after a restart"
            );
        }
        true
    }

    /// Takes a revocation back, and makes a token valid again that the program has named. Says
    /// whether there was one to take back.
    ///
    /// # Errors
    /// `Unavailable` if that cannot be kept. Then it stays revoked.
    pub(crate) fn allow_again(
        &self,
        identity: &Identity,
        role: Role,
        name: &str,
    ) -> Result<bool, Error> {
        let key = (role, name.to_owned());
        if !self.list().revoked.contains(&key) {
            return Ok(false);
        }
        if is_name(name) {
            self.file.add(role, name, false).map_err(|error| {
                let text = format!("cannot keep that `{name}` is allowed again");
                Error::new(ErrorKind::Unavailable, text).with_source(error)
            })?;
        }
        let mut list = self.list();
        let was_revoked = list.revoked.remove(&key);
        if was_revoked && list.named.contains(&key) {
            list.push(role, Some(key.1), identity.token(role, name));
        }
        Ok(was_revoked)
    }

    fn expel(&self, role: Role, name: &str) -> bool {
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
    /// Adds a token that is named when the gateway starts. One that was revoked stays so.
    fn name(&mut self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        let key = (role, name.to_owned());
        if !self.revoked.contains(&key) || self.named.contains(&key) {
            return self.add(identity, role, name);
        }
        warn!(
            role = role.name(),
            name, "this token was revoked and stays so: nobody gets in by it"
        );
        self.named.push(key);
        Ok(())
    }

    fn add(&mut self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        if !is_name(name) {
            // Not shown: it may be a ticket.
            let text = format!(
                "this is no name for a token: 1 to {MAX_NAME} of `A-Z a-z 0-9 _ . : / - @`, and \
                 `#` with what tells it from other tokens of the same identity"
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        if self.revoked.contains(&(role, name.to_owned())) {
            let text = format!(
                "the token `{name}` for {} was revoked, and its tickets would be good again; take \
                 another name, such as `{}#2`, or allow it with `Gateway::allow_again`",
                role.described(),
                identity_of(name)
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        let same = |named: &NamedToken| named.role == role && named.name.as_deref() == Some(name);
        if self.valid.iter().any(same) {
            let text = format!("there is a token `{name}` for {} already", role.described());
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        self.named.push((role, name.to_owned()));
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
pub(super) fn is_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/-@#".contains(&byte);
    name.len() <= MAX_NAME && name.bytes().all(fine) && !identity_of(name).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Authorities {
        Authorities::new(Vec::new()).unwrap()
    }

    /// Where a gateway keeps its things.
    struct Home(tempfile::TempDir);

    impl Home {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn identity(&self) -> Identity {
            Identity::load_or_create(Some(self.0.path())).unwrap()
        }

        fn tokens(&self, names: &[(Role, String)]) -> Tokens {
            let file = RevocationFile::within(self.0.path());
            Tokens::new(&self.identity(), names, none(), file).unwrap()
        }
    }

    #[test]
    fn a_role_without_names_has_the_default_token() {
        let names = [(Role::Client, "ci#1".to_owned()), (Role::Client, "ci#2".to_owned())];
        let home = Home::new();
        let tokens = home.tokens(&names);
        assert_eq!(tokens.names(Role::Node), ["default"]);
        assert_eq!(tokens.names(Role::Client), ["ci#1", "ci#2"]);
    }

    #[test]
    fn tokens_of_one_identity_differ_in_what_follows() {
        let names = [(Role::Client, "ci#1".to_owned()), (Role::Client, "ci#2".to_owned())];
        let home = Home::new();
        let tokens = home.tokens(&names);
        let list = tokens.list();
        let [.., one, two] = &list.valid[..] else { panic!("two and more") };
        assert_ne!(one.token, two.token);
        assert_eq!((&*one.admission.identity, &*two.admission.identity), ("ci", "ci"));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let home = Home::new();
        let (identity, tokens) = (home.identity(), home.tokens(&[]));
        for name in ["", "#1", "a b", "a,b", "a\n", "ü", &"x".repeat(MAX_NAME + 1)] {
            let error = tokens.add(&identity, Role::Node, name).unwrap_err();
            assert!(error.to_string().contains("is no name for a token"), "{error}");
        }
        let error = tokens.add(&identity, Role::Node, DEFAULT).unwrap_err();
        assert!(error.to_string().contains("a token `default` for a node already"), "{error}");
    }

    #[test]
    fn a_revoked_name_stays_revoked() {
        let home = Home::new();
        let (identity, tokens) = (home.identity(), home.tokens(&[]));
        tokens.add(&identity, Role::Node, "gpu").unwrap();
        assert!(tokens.revoke(Role::Node, "gpu"));
        assert!(!tokens.revoke(Role::Node, "gpu"));
        let error = tokens.add(&identity, Role::Node, "gpu").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        tokens.add(&identity, Role::Client, "gpu").unwrap();
        tokens.add(&identity, Role::Node, "gpu#2").unwrap();
    }
    #[test]
    fn what_is_revoked_stays_so_after_a_restart_until_it_is_allowed_again() {
        let (home, ci) = (Home::new(), "ci#1".to_owned());
        let named = [(Role::Client, ci.clone()), (Role::Client, "web".to_owned())];
        let first = home.tokens(&named);
        assert!(first.revoke(Role::Client, &ci) && first.revoke(Role::Node, DEFAULT));
        let second = home.tokens(&named);
        assert_eq!(second.names(Role::Client), ["web"]);
        assert_eq!(second.names(Role::Node), [""; 0]);
        assert_eq!(second.names(Role::Admin), [DEFAULT]);
        let identity = home.identity();
        let error = second.add(&identity, Role::Client, &ci).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(!second.revoke(Role::Client, &ci), "it is already");
        assert!(second.allow_again(&identity, Role::Client, &ci).unwrap());
        assert!(!second.allow_again(&identity, Role::Client, &ci).unwrap());
        assert!(!second.allow_again(&identity, Role::Client, "web").unwrap());
        assert_eq!(second.names(Role::Client), ["web", "ci#1"]);
        let third = home.tokens(&named);
        assert_eq!(third.names(Role::Client), ["ci#1", "web"]);
        assert_eq!(third.names(Role::Node), [""; 0]);
        assert!(third.allow_again(&identity, Role::Node, DEFAULT).unwrap());
        assert_eq!(third.names(Role::Node), [DEFAULT]);
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused_also_if_it_is_revoked() {
        let home = Home::new();
        let named = vec![(Role::Client, "ci".to_owned()); 2];
        home.tokens(&named[..1]).revoke(Role::Client, "ci");
        let file = RevocationFile::within(home.0.path());
        Tokens::new(&home.identity(), &named, none(), file).unwrap_err();
    }
}
