//! Access control: which peers may call and offer which functions.

use std::fmt;

use crate::error::{Error, ErrorKind};
use crate::wire::caller::Caller;
use crate::wire::control::Role;
use crate::wire::directory::{
    FUNCTION_STATS, FUNCTIONS, JOBS, NODES, RESERVED, STATS, STREAM_STATS,
};

/// Selects peers of a gateway by [`Role`], by identity, or by both.
///
/// Used by [`GatewayBuilder::may_call`](crate::gateway::GatewayBuilder::may_call) and
/// [`GatewayBuilder::may_offer`](crate::gateway::GatewayBuilder::may_offer). An identity that ends
/// with `*` matches all identities with that prefix; `*` alone matches all.
///
/// ```
/// use easyremote::gateway::Peers;
/// use easyremote::Role;
///
/// let _all_clients = Peers::from(Role::Client);
/// let _the_same_ci_in_any_role = Peers::from("ci");
/// let _some_nodes = Peers::from((Role::Node, "gpu-*"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    role: Option<Role>,
    identity: String,
}

impl From<Role> for Peers {
    fn from(role: Role) -> Self {
        (role, "*").into()
    }
}

impl From<&str> for Peers {
    fn from(identity: &str) -> Self {
        Self { role: None, identity: identity.to_owned() }
    }
}

impl From<String> for Peers {
    fn from(identity: String) -> Self {
        Self { role: None, identity }
    }
}

impl From<(Role, &str)> for Peers {
    fn from((role, identity): (Role, &str)) -> Self {
        Self { role: Some(role), identity: identity.to_owned() }
    }
}

impl Peers {
    fn contain(&self, peer: &Caller) -> bool {
        self.role.is_none_or(|role| role == peer.role) && matches(&self.identity, &peer.identity)
    }
}

/// The access rules of a gateway.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    calls: Rules,
    offers: Rules,
}

/// A list of rules. An empty list allows everything; otherwise everything that no rule allows is
/// denied.
#[derive(Clone, Debug, Default)]
struct Rules(Vec<Rule>);

/// The functions of nodes that a peer may call. Equal for all peers that match the same rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum CallScope {
    All,
    /// Functions allowed by at least one of the rules with these indices.
    OfRules(Vec<usize>),
}

impl CallScope {
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::All
    }
}

#[derive(Clone, Debug)]
struct Rule {
    peers: Peers,
    functions: Vec<String>,
}

impl Rules {
    fn add<F: Into<String>>(&mut self, peers: Peers, functions: impl IntoIterator<Item = F>) {
        let functions = functions.into_iter().map(Into::into).collect();
        self.0.push(Rule { peers, functions });
    }

    /// Returns the patterns that apply to `peer`; `None` if everything is allowed because no rules
    /// exist.
    fn of<'a>(&'a self, peer: &'a Caller) -> Option<impl Iterator<Item = &'a str>> {
        let of_peer = self.0.iter().filter(|rule| rule.peers.contain(peer));
        let patterns = of_peer.flat_map(|rule| rule.functions.iter().map(String::as_str));
        (!self.0.is_empty()).then_some(patterns)
    }

    fn allow(&self, peer: &Caller, function: &str) -> bool {
        self.of(peer).is_none_or(|mut patterns| patterns.any(|p| matches(p, function)))
    }
}

impl Access {
    pub(crate) fn let_call<F: Into<String>>(
        &mut self,
        peers: Peers,
        functions: impl IntoIterator<Item = F>,
    ) {
        self.calls.add(peers, functions);
    }

    pub(crate) fn let_offer<F: Into<String>>(
        &mut self,
        peers: Peers,
        functions: impl IntoIterator<Item = F>,
    ) {
        self.offers.add(peers, functions);
    }

    /// Validates the patterns.
    ///
    /// # Errors
    /// `InvalidInput` if a `*` is not at the end of a pattern.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let rules = self.calls.0.iter().chain(&self.offers.0);
        let patterns = rules.flat_map(|rule| rule.functions.iter().chain([&rule.peers.identity]));
        let odd = |pattern: &&String| pattern.strip_suffix('*').unwrap_or(pattern).contains('*');
        let Some(odd) = patterns.into_iter().find(odd) else { return Ok(()) };
        let text = format!(
            "`{}` in a rule is not a valid pattern: a `*` may only be at its end",
            odd.escape_debug()
        );
        Err(Error::new(ErrorKind::InvalidInput, text))
    }

    /// Returns which functions of nodes `caller` may call.
    pub(crate) fn scope(&self, caller: &Caller) -> CallScope {
        if caller.role == Role::Admin || self.calls.0.is_empty() {
            return CallScope::All;
        }
        let rules = self.calls.0.iter().enumerate();
        let of_caller = rules.filter(|(_, rule)| rule.peers.contain(caller));
        CallScope::OfRules(of_caller.map(|(index, _)| index).collect())
    }

    /// Returns whether a function of a node is in `scope`.
    pub(crate) fn is_within(&self, scope: &CallScope, function: &str) -> bool {
        let CallScope::OfRules(rules) = scope else { return true };
        let mut patterns = rules.iter().flat_map(|index| &self.calls.0[*index].functions);
        patterns.any(|pattern| matches(pattern, function))
    }

    /// Returns whether rules decide who may offer a function, instead of its first owner.
    pub(crate) fn has_offers(&self) -> bool {
        !self.offers.0.is_empty()
    }

    /// Returns whether `caller` may call this function.
    ///
    /// Of the reserved functions, everyone may call the lists, which contain only what the caller may
    /// call, or has spawned. Statistics are for admins and for peers with a rule that names them; `*`
    /// does not include them.
    pub(crate) fn may_call(&self, caller: &Caller, function: &str) -> bool {
        if caller.role == Role::Admin {
            return true;
        }
        match function {
            FUNCTIONS | NODES | JOBS => true,
            STATS | FUNCTION_STATS | STREAM_STATS => {
                let named = |pattern: &str| pattern.starts_with(RESERVED);
                let rules = self.calls.of(caller);
                rules.is_some_and(|mut rules| rules.any(|p| named(p) && matches(p, STATS)))
            }
            _ => self.calls.allow(caller, function),
        }
    }

    /// Checks that `caller` may call this function. A call without a `caller` is denied.
    ///
    /// # Errors
    /// `PermissionDenied` if it may not.
    pub(crate) fn check_call(&self, caller: Option<&Caller>, function: &str) -> Result<(), Error> {
        if caller.is_some_and(|caller| self.may_call(caller, function)) {
            return Ok(());
        }
        let who = caller
            .map_or_else(|| "an unknown caller".to_owned(), |caller| Named(caller).to_string());
        let text = match function {
            STATS | FUNCTION_STATS | STREAM_STATS => {
                format!("{who} may not ask for `{function}`, which is for admins")
            }
            _ => format!("{who} may not call `{function}` at this gateway"),
        };
        Err(Error::new(ErrorKind::PermissionDenied, text))
    }

    /// Checks that `node` may offer these functions.
    ///
    /// # Errors
    /// `PermissionDenied` if it may not offer one of them.
    pub(crate) fn check_offers<'a>(
        &self,
        node: &Caller,
        functions: impl Iterator<Item = &'a str>,
    ) -> Result<(), Error> {
        /// Maximum number of names in one message.
        const SHOWN: usize = 8;
        let denied: Vec<&str> = functions.filter(|name| !self.offers.allow(node, name)).collect();
        if denied.is_empty() {
            return Ok(());
        }
        let first: Vec<_> = denied.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
        let more = match denied.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let (who, names) = (Named(node), first.join(", "));
        let text = format!("{who} may not offer {names}{more} at this gateway");
        Err(Error::new(ErrorKind::PermissionDenied, text))
    }
}

/// Displays a peer in error messages.
struct Named<'a>(&'a Caller);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Caller { role, id, identity, .. } = self.0;
        match role {
            Role::Node => write!(f, "node `{}` (`{identity}`)", id.escape_debug()),
            role => write!(f, "{} `{identity}`", role.name()),
        }
    }
}

/// Returns whether `name` matches `pattern`: they are equal, or `pattern` ends with `*` and the
/// rest is a prefix of `name`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(role: Role, identity: &str) -> Caller {
        let address = "[::1]:1".parse().unwrap();
        Caller { role, id: "x".into(), identity: identity.into(), address }
    }

    #[test]
    fn patterns_are_names_or_beginnings() {
        for (pattern, name, fits) in [
            ("add", "add", true),
            ("add", "adds", false),
            ("Model.*", "Model.embed", true),
            ("Model.*", "Model", false),
            ("Model.*", "Models.embed", false),
            ("*", "add", true),
            ("*", "", true),
            ("", "add", false),
            ("a*d", "add", false),
            ("ADD", "add", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_rule_allows_is_denied_as_soon_as_there_is_one() {
        let client = peer(Role::Client, "ci");
        let mut access = Access::default();
        assert!(access.may_call(&client, "add"));
        access.let_call((Role::Client, "ci").into(), ["Model.*"]);
        assert!(access.may_call(&client, "Model.embed"));
        assert!(!access.may_call(&client, "add"));
        assert!(!access.may_call(&peer(Role::Node, "ci"), "Model.embed"));
        assert!(!access.may_call(&peer(Role::Client, "other"), "Model.embed"));
        assert!(access.may_call(&peer(Role::Admin, "other"), "add"));
        for peer in [&client, &peer(Role::Node, "ci"), &peer(Role::Admin, "other")] {
            let scope = access.scope(peer);
            for name in ["add", "Model.embed", "Model"] {
                assert_eq!(access.is_within(&scope, name), access.may_call(peer, name), "{name}");
            }
        }
        // Rules for calls do not affect offers.
        access.check_offers(&peer(Role::Node, "ci"), ["add"].into_iter()).unwrap();
        access.let_offer(Role::Node.into(), ["a*"]);
        access.check_offers(&peer(Role::Node, "ci"), ["add"].into_iter()).unwrap();
        let error = access.check_offers(&peer(Role::Node, "ci"), ["add", "sub"].into_iter());
        assert_eq!(
            error.unwrap_err().to_string(),
            "node `x` (`ci`) may not offer `sub` at this gateway"
        );
    }

    #[test]
    fn statistics_are_for_admins_and_those_who_are_named() {
        let client = peer(Role::Client, "ci");
        let mut access = Access::default();
        assert!(!access.may_call(&client, STATS));
        assert!(access.may_call(&peer(Role::Admin, "ci"), STATS));
        access.let_call("*".into(), ["*"]);
        assert!(!access.may_call(&client, STATS));
        access.let_call("ci".into(), [STATS]);
        assert!(access.may_call(&client, STATS) && access.may_call(&client, FUNCTION_STATS));
        assert!(!access.may_call(&peer(Role::Client, "other"), FUNCTION_STATS));
        assert!(access.may_call(&client, STREAM_STATS));
        assert!(!access.may_call(&peer(Role::Client, "other"), STREAM_STATS));
        assert!(!access.may_call(&peer(Role::Client, "other"), STATS));
        assert!(access.may_call(&client, FUNCTIONS) && access.may_call(&client, NODES));
    }

    #[test]
    fn who_is_not_known_may_nothing() {
        let mut access = Access::default();
        access.let_call("*".into(), ["*"]);
        assert!(access.check_call(None, "add").is_err());
    }
}
