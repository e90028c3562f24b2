//! Names of functions, past and present, and their owners. Guarded by the router's lock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::gateway::routing::node::RoutedNode;
use crate::gateway::routing::table::RoutingTable;

/// The names of functions, and the identities that own them.
///
/// Unless rules decide who may offer what, a name belongs to the first identity that offered it.
/// Any number of nodes of that identity share its calls, and nodes of others cannot take them. An
/// identity keeps its names after its nodes have left. Each identity has a separate limit, so none
/// can exhaust the names of another.
#[derive(Debug, Default)]
pub(crate) struct FunctionNames {
    /// Names that are offered now, sorted, for error messages.
    offered: BTreeSet<String>,
    /// Names that were offered since the start, with their owner; `None` if the owner was disowned.
    known: BTreeMap<String, Option<Arc<str>>>,
    /// Number of names that each identity owns.
    owned: HashMap<Arc<str>, usize>,
}

/// Maximum number of names that one identity may own.
pub(crate) const MAX_OWNED: usize = 16_384;

impl FunctionNames {
    /// Returns the names that are offered now, sorted.
    pub(crate) fn offered(&self) -> &BTreeSet<String> {
        &self.offered
    }

    /// Returns whether a function with this name was ever offered.
    pub(crate) fn is_known(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// Claims the names that a node offers for its identity.
    ///
    /// With `rules` that decide who may offer what, names may have any owner, and those beyond the
    /// limit are not recorded.
    ///
    /// # Errors
    /// `PermissionDenied` if a name belongs to another identity, or if the identity would own too
    /// many. No name is claimed then.
    pub(crate) fn claim<H>(
        &mut self,
        node: &RoutedNode<H>,
        table: &RoutingTable<H>,
        rules: bool,
    ) -> Result<(), Error> {
        let identity = node.identity();
        let mut fresh = BTreeSet::new();
        for offered in node.offers() {
            let name = &*offered.offer.name;
            match self.known.get(name) {
                Some(Some(owner)) if owner != identity && !rules => {
                    return Err(belongs_to(owner, name, node));
                }
                Some(Some(_)) => {}
                Some(None) | None => {
                    // Nodes of a disowned identity may stay connected for a moment.
                    let now = || Some(table.function(name)?.routes.first()?.node.identity());
                    if let Some(owner) = now().filter(|owner| *owner != identity && !rules) {
                        return Err(belongs_to(owner, name, node));
                    }
                    fresh.insert(name);
                }
            }
        }
        if fresh.is_empty() {
            return Ok(());
        }
        let owned = self.owned.entry(identity.clone()).or_default();
        let room = MAX_OWNED.saturating_sub(*owned);
        if fresh.len() > room && !rules {
            let text = format!(
                "node `{}` (`{identity}`) may not offer `{}` and other new names: `{identity}` has \
                 been the first to offer {owned} since this gateway started, and may be of \
                 {MAX_OWNED}; give functions the same names each time, or add rules with \
                 `may_offer` at the gateway",
                node.id(),
                fresh.first().unwrap_or(&""),
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        for name in fresh.into_iter().take(room) {
            self.known.insert(name.to_owned(), Some(identity.clone()));
            *owned += 1;
        }
        Ok(())
    }

    /// Records that `node` offers its functions, and that no node offers those in `gone` any more.
    pub(crate) fn update<H>(&mut self, gone: &[String], node: Option<&RoutedNode<H>>) {
        for name in gone {
            self.offered.remove(name);
        }
        for offered in node.iter().flat_map(|node| node.offers()) {
            if !self.offered.contains(&offered.offer.name) {
                self.offered.insert(offered.offer.name.clone());
            }
        }
    }

    /// Makes the functions of `identity` available to other identities.
    pub(crate) fn disown(&mut self, identity: &str) {
        for owner in self.known.values_mut() {
            owner.take_if(|owner| **owner == *identity);
        }
        self.owned.remove(identity);
        // Bounds the names without an owner. They only serve to distinguish "not now" from
        // "unknown".
        let mut ownerless = 0;
        self.known.retain(|_, owner| {
            ownerless += usize::from(owner.is_none());
            owner.is_some() || ownerless <= MAX_OWNED
        });
    }
}

fn belongs_to<H>(owner: &str, name: &str, node: &RoutedNode<H>) -> Error {
    let text = format!(
        "node `{}` (`{}`) may not offer `{name}`: it belongs to `{owner}`, which was the first to \
         offer it; rules made with `may_offer` at the gateway can allow both",
        node.id(),
        node.identity(),
    );
    Error::new(ErrorKind::PermissionDenied, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::routing::sample::{Sample, offer};

    fn node(identity: &'static str, names: std::ops::Range<usize>) -> RoutedNode<()> {
        let functions = names.map(|n| offer(&format!("f{n}"))).collect();
        Sample { identity, functions, ..Sample::new("one") }.node()
    }

    fn claim(
        names: &mut FunctionNames,
        identity: &'static str,
        range: std::ops::Range<usize>,
    ) -> Result<(), String> {
        let claimed = names.claim(&node(identity, range), &RoutingTable::default(), false);
        claimed.map_err(|error| {
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            error.to_string()
        })
    }

    #[test]
    fn no_identity_pushes_out_the_names_of_another() {
        let mut names = FunctionNames::default();
        for n in 0..20 {
            let claimed = claim(&mut names, "evil", 1_000 * n..1_000 * (n + 1));
            assert_eq!(claimed.is_ok(), n < 16, "{n}: {claimed:?}");
            assert!(claimed.is_ok() || claimed.unwrap_err().contains("may be of 16384"));
        }
        // Up to the limit; names that it owns may be offered again.
        claim(&mut names, "evil", 16_000..MAX_OWNED).unwrap();
        claim(&mut names, "evil", MAX_OWNED..MAX_OWNED + 1).unwrap_err();
        claim(&mut names, "evil", 500..1_000).unwrap();
        assert_eq!(names.known.len(), MAX_OWNED);
        // Another identity registers later, and still gets and keeps its names.
        claim(&mut names, "good", 50_000..50_001).unwrap();
        assert!(claim(&mut names, "evil", 50_000..50_001).unwrap_err().contains("to `good`"));
        claim(&mut names, "good", 50_000..50_002).unwrap();
        assert!(claim(&mut names, "good", 7..8).unwrap_err().contains("belongs to `evil`"));
    }

    #[test]
    fn who_has_lost_its_names_may_have_others() {
        let mut names = FunctionNames::default();
        for n in 0..3 {
            let first = n * MAX_OWNED;
            claim(&mut names, "evil", first..first + MAX_OWNED).unwrap();
            names.disown("evil");
            assert_eq!(names.known.len(), MAX_OWNED, "not without end");
        }
        claim(&mut names, "good", 0..10).unwrap();
        assert_eq!(names.owned["good"], 10);
    }

    #[test]
    fn with_rules_names_are_kept_up_to_the_bound_and_nobody_is_refused() {
        let mut names = FunctionNames::default();
        for n in 0..20 {
            let node = node("pool", 1_000 * n..1_000 * (n + 1));
            names.claim(&node, &RoutingTable::default(), true).unwrap();
        }
        assert_eq!(names.known.len(), MAX_OWNED);
    }
}
