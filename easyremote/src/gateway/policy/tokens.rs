//! Tokens: which ones are valid, and which identity each stands for.

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

/// The identity of peers with a `default` token, and of those that read the identity file.
pub(crate) const DEFAULT: &str = "default";

/// The tokens of one gateway.
///
/// They are derived from its secret and their names, so that only revocations are stored: the same
/// names yield the same tokens after a restart.
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
    /// Names that the program has passed, including revoked ones.
    named: Vec<NameOfRole>,
    /// Names whose tickets and certificates are rejected.
    revoked: HashSet<NameOfRole>,
    /// Names of peers admitted by certificate; bounded by the names that the authorities issue.
    certified: HashMap<NameOfRole, CancellationToken>,
}

/// A valid token.
#[derive(Debug)]
struct NamedToken {
    role: Role,
    /// `None` for the token of the identity file.
    name: Option<String>,
    token: Token,
    id: TokenId,
    admission: Admitted,
}

/// A valid token, as its id leads to it.
#[cfg(feature = "http")]
pub(crate) struct FoundToken {
    /// [`DEFAULT`] for the token of the identity file too.
    pub(crate) name: String,
    pub(crate) token: Token,
    pub(crate) admission: Admitted,
}

/// The identity of an admitted peer, and a signal that ends its session.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    /// Its identity, as functions and rules see it.
    pub(crate) identity: Arc<str>,
    /// Cancelled when its credentials are revoked.
    pub(crate) revoked: CancellationToken,
}

impl Tokens {
    /// Derives the tokens with these names, those of the identity file, and one called `default`
    /// for each role that has neither a name nor an authority. Names that `file` lists as revoked
    /// stay revoked.
    ///
    /// # Errors
    /// `InvalidInput` for an invalid or duplicate name; `Unavailable` if the file is unusable.
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

    /// Adds a token.
    ///
    /// # Errors
    /// `InvalidInput` if the name is invalid or in use; `PermissionDenied` if it was revoked.
    pub(crate) fn add(&self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        self.list().add(identity, role, name)
    }

    /// Revokes a token and the certificates with this name permanently, and ends the sessions that
    /// they admitted. Returns whether there was anything to revoke.
    pub(crate) fn revoke(&self, role: Role, name: &str) -> bool {
        if !self.expel(role, name) {
            return false;
        }
        // A token or certificate with an invalid name cannot exist, so it need not be stored.
        if is_name(name)
            && let Err(error) = self.file.add(role, name, true)
        {
            error!(
                role = role.name(), name, %error,
                "cannot store the revocation: it ends when this gateway stops"
            );
        }
        true
    }

    /// Undoes a revocation; a token that the program has named becomes valid again. Returns whether
    /// the name was revoked.
    ///
    /// # Errors
    /// `Unavailable` if that cannot be stored. The name then stays revoked.
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
                let text = format!("cannot store that `{name}` is allowed again");
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

    /// Returns the authorities whose certificates are accepted.
    pub(crate) fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// Returns the names of a role's tokens, in the order in which they were added.
    pub(crate) fn names(&self, role: Role) -> Vec<String> {
        let list = self.list();
        let of_role = list.valid.iter().filter(|named| named.role == role);
        of_role.filter_map(|named| named.name.clone()).collect()
    }

    /// Returns the valid token with this id.
    #[cfg(feature = "http")]
    pub(crate) fn find(&self, role: Role, id: TokenId) -> Option<FoundToken> {
        let list = self.list();
        // The id is not secret, so the search need not take constant time.
        let found = list.valid.iter().find(|named| named.role == role && named.id == id)?;
        let name = found.name.clone().unwrap_or_else(|| DEFAULT.to_owned());
        Some(FoundToken { name, token: found.token.clone(), admission: found.admission.clone() })
    }

    /// Verifies the credentials in a peer's hello.
    ///
    /// # Errors
    /// `Unauthenticated` if they are not valid for the role. The text does not reveal what is wrong
    /// with a token.
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
            // The id is not secret, so the search need not take constant time.
            let mut of_role = list.valid.iter().filter(|named| named.role == hello.role);
            let found = of_role.find(|named| named.id == proof.token);
            found.map(|named| (named.token.clone(), named.admission.clone()))
        };
        // Verify against a dummy, so that an unknown token takes as long as a known one.
        let (token, admission) = match found {
            Some((token, admission)) => (token, Some(admission)),
            None => (Token::new([0; 32]), None),
        };
        let proven = token.verify(connection, hello.role, proof)?;
        admission.filter(|_| proven).ok_or_else(|| {
            let text = format!(
                "the token is not valid for {} at this gateway, or no longer valid: use a ticket \
                 that it issued",
                hello.role.described()
            );
            Error::new(ErrorKind::Unauthenticated, text)
        })
    }

    fn admit_certified(&self, role: Role, name: String) -> Result<Admitted, Error> {
        let refused = |text: String| Err(Error::new(ErrorKind::Unauthenticated, text));
        // `default` is reserved for peers that can read the gateway's own file.
        if !is_name(&name) || name.contains('#') || name == DEFAULT {
            return refused(format!(
                "`{}` in the certificate is not a valid peer name",
                name.escape_debug()
            ));
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
        // Every critical section leaves the list consistent, so a panic in one does not corrupt it.
        self.list.lock()
    }
}

impl TokenList {
    /// Adds a token that is named when the gateway starts. A revoked one stays revoked.
    fn name(&mut self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        let key = (role, name.to_owned());
        if !self.revoked.contains(&key) || self.named.contains(&key) {
            return self.add(identity, role, name);
        }
        warn!(role = role.name(), name, "this token was revoked: peers that use it are rejected");
        self.named.push(key);
        Ok(())
    }

    fn add(&mut self, identity: &Identity, role: Role, name: &str) -> Result<(), Error> {
        if !is_name(name) {
            // The name is not quoted: it may be a ticket, which contains a secret.
            let text = format!(
                "invalid token name: use 1 to {MAX_NAME} of `A-Z a-z 0-9 _ . : / - @`, and \
                 optionally `#` and a suffix that tells apart tokens of one identity"
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        if self.revoked.contains(&(role, name.to_owned())) {
            let text = format!(
                "the token `{name}` for {} was revoked, and its tickets would become valid again; \
                 use another name, such as `{}#2`, or allow it with `Gateway::allow_again`",
                role.described(),
                identity_of(name)
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        let same = |named: &NamedToken| named.role == role && named.name.as_deref() == Some(name);
        if self.valid.iter().any(same) {
            let text = format!("a token `{name}` for {} already exists", role.described());
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

/// Returns the identity of a token with this name.
pub(crate) fn identity_of(name: &str) -> &str {
    name.split_once('#').map_or(name, |(identity, _)| identity)
}

/// Returns whether a token may have this name, which appears in logs, errors and rules.
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

    /// A gateway's state directory.
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
            assert!(error.to_string().contains("invalid token name"), "{error}");
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
