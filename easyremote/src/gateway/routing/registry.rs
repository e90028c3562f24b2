//! The nodes that are registered, and the changes to the routing table. Behind the router's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::gateway::policy::access::Access;
use crate::gateway::routing::diagnostics::Diagnosis;
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::outlier::OutlierOptions;
use crate::gateway::routing::table::{FunctionTable, RoutingTable};
use crate::wire::header::CallHeader;

/// The registered nodes, and the names that their functions have had.
#[derive(Debug)]
pub(crate) struct NodeRegistry<H> {
    access: Arc<Access>,
    outliers: OutlierOptions,
    /// The latest snapshot.
    table: Arc<RoutingTable<H>>,
    /// Places that a node has left, to be used again.
    vacant: BTreeSet<usize>,
    /// Names of the functions, in order, for texts.
    names: BTreeSet<String>,
    /// Names that were offered since the start, and the identity that was the first to offer each,
    /// unless that has lost it.
    known: BTreeMap<String, Option<Arc<str>>>,
}

/// Most names that [`NodeRegistry::known`] keeps; beyond that, "not now" is told as "never heard
/// of", and a name belongs to whoever offers it now.
const MAX_KNOWN: usize = 16_384;

impl<H: NodeHandle> NodeRegistry<H> {
    pub(crate) fn new(access: Arc<Access>, outliers: OutlierOptions) -> Self {
        Self {
            access,
            outliers,
            table: Arc::default(),
            vacant: BTreeSet::new(),
            names: BTreeSet::new(),
            known: BTreeMap::new(),
        }
    }

    pub(crate) fn table(&self) -> &Arc<RoutingTable<H>> {
        &self.table
    }

    /// Adds a node in place of another session of its id, which is returned.
    ///
    /// # Errors
    /// `PermissionDenied` if that session stays, or if a function belongs to another identity.
    pub(crate) fn insert(
        &mut self,
        node: &Arc<RoutedNode<H>>,
    ) -> Result<Option<Arc<RoutedNode<H>>>, Error> {
        let old = self.table.node(node.id()).cloned();
        if old.as_ref().is_some_and(|old| !old.yields_to(node)) {
            let text = format!(
                "a node called `{}` is connected already; give each node an id of its own",
                node.id()
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        self.check_owner(node)?;
        if let Some(old) = &old {
            self.forget(old);
            old.close();
        }
        self.place(node);
        for offered in node.offers() {
            let name = &offered.offer.name;
            self.names.insert(name.clone());
            if self.known.len() < MAX_KNOWN {
                let owner = self.known.entry(name.clone()).or_default();
                owner.get_or_insert_with(|| node.identity().clone());
            }
        }
        Ok(old)
    }

    /// Removes a node, unless another session has taken its id over.
    pub(crate) fn remove(&mut self, node: &Arc<RoutedNode<H>>) {
        if self.is_current(node) {
            self.forget(node);
            self.readmit(node);
        }
        // A call that reads an older snapshot must not end up there.
        node.close();
    }

    /// Replaces the tags of a node. It keeps the calls that it runs, also those that it would not
    /// be given any more.
    pub(crate) fn retag(&mut self, node: &Arc<RoutedNode<H>>, tags: Vec<String>) {
        if self.is_current(node) {
            self.forget(node);
            node.set_tags(tags);
            self.place(node);
            self.names.extend(node.offers().iter().map(|offered| offered.offer.name.clone()));
        } else {
            node.set_tags(tags);
        }
    }

    /// Lets other identities offer the functions that `identity` was the first to offer.
    pub(crate) fn disown(&mut self, identity: &str) {
        for owner in self.known.values_mut() {
            owner.take_if(|owner| **owner == *identity);
        }
    }

    /// Explains why no node takes the call, now or later.
    pub(crate) fn explain(&self, header: &CallHeader) -> Error {
        let is_known = self.known.contains_key(&header.function);
        let (table, access, names) = (&self.table, &self.access, &self.names);
        Diagnosis { table, access, names, is_known }.explain(header)
    }

    /// Avoids a node for a function, or avoids it longer, unless too many nodes of the function are
    /// avoided already. Returns whether it is avoided.
    pub(crate) fn eject(&self, node: &RoutedNode<H>, function: &str, now: Duration) -> bool {
        let Some(table) = self.table.function(function) else { return false };
        let own = table.routes.iter().find(|route| std::ptr::eq(&*route.node, node));
        let Some(own) = own else { return false };
        // Of several calls that fail at a time, one begins or prolongs the ejection.
        if now < own.offered().ejection.end() {
            return false;
        }
        let others = table.routes.iter().filter(|other| other.offered().ejection.is_ejected());
        let others = others.filter(|other| !std::ptr::eq(&*other.node, node)).count();
        if others >= self.outliers.max_ejected(table.routes.len()) {
            return false;
        }
        own.offered().ejection.eject(now, &self.outliers);
        count_ejected(table);
        true
    }

    /// Avoids a node for a function no longer.
    pub(crate) fn restore(&self, node: &RoutedNode<H>, function: &str, now: Duration) {
        let Some(index) = node.offer_index(function) else { return };
        let offered = &node.offers()[index];
        if now < offered.ejection.end() {
            // Another probe has failed in the meantime.
            return;
        }
        offered.latency.reset();
        offered.ejection.restore(now);
        if let Some(table) = self.table.function(function) {
            count_ejected(table);
        }
    }

    /// Avoids fewer nodes, if too many are avoided now that `node` has left.
    fn readmit(&self, node: &RoutedNode<H>) {
        let functions = node.offers().iter().map(|offered| &offered.offer.name);
        for table in functions.filter_map(|name| self.table.function(name)) {
            let most = self.outliers.max_ejected(table.routes.len());
            while table.counters.n_ejected.load(Ordering::Acquire) > most {
                let ejected = table.routes.iter().map(|route| &route.offered().ejection);
                let ejected = ejected.filter(|ejection| ejection.is_ejected());
                // The one that would be back first.
                let Some(next) = ejected.min_by_key(|ejection| ejection.end()) else { break };
                next.cancel();
                count_ejected(table);
            }
        }
    }

    fn is_current(&self, node: &Arc<RoutedNode<H>>) -> bool {
        self.table.node(node.id()).is_some_and(|current| Arc::ptr_eq(current, node))
    }

    fn place(&mut self, node: &Arc<RoutedNode<H>>) {
        let place = self.vacant.pop_first().unwrap_or(self.table.n_nodes());
        self.change(|table| table.insert(node, place));
        self.recount(node);
    }

    fn forget(&mut self, node: &RoutedNode<H>) {
        self.vacant.insert(node.place());
        for name in self.change(|table| table.remove(node)) {
            self.names.remove(&name);
        }
        self.recount(node);
    }

    /// Makes a new table of the old one, which calls may still read.
    fn change<R>(&mut self, change: impl FnOnce(&mut RoutingTable<H>) -> R) -> R {
        let mut table = RoutingTable::clone(&self.table);
        let result = change(&mut table);
        self.table = Arc::new(table);
        result
    }

    fn recount(&self, node: &RoutedNode<H>) {
        let functions = node.offers().iter().map(|offered| &offered.offer.name);
        functions.filter_map(|name| self.table.function(name)).for_each(count_ejected);
    }

    /// Checks whether a node may offer its functions. Where no rules say so, a function belongs to
    /// the identity that was the first to offer it: no other can take its calls, while any number
    /// of nodes of that identity share them.
    fn check_owner(&self, node: &RoutedNode<H>) -> Result<(), Error> {
        if self.access.has_offers() {
            return Ok(());
        }
        for offered in node.offers() {
            let name = &offered.offer.name;
            let now = || Some(self.table.function(name)?.routes.first()?.node.identity());
            let owner = self.known.get(name).and_then(Option::as_ref).or_else(now);
            if let Some(owner) = owner.filter(|owner| *owner != node.identity()) {
                let text = format!(
                    "node `{}` (`{}`) may not offer `{name}`: it belongs to `{owner}`, which was \
                     the first to offer it; rules made with `may_offer` at the gateway can allow \
                     both",
                    node.id(),
                    node.identity(),
                );
                return Err(Error::new(ErrorKind::PermissionDenied, text));
            }
        }
        Ok(())
    }
}

/// Notes how many nodes are avoided for a function.
fn count_ejected<H>(table: &FunctionTable<H>) {
    let ejected = table.routes.iter().filter(|route| route.offered().ejection.is_ejected());
    table.counters.n_ejected.store(ejected.count(), Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::routing::sample::{Sample, offer};

    #[test]
    fn names_are_not_remembered_without_end() {
        let mut registry = NodeRegistry::new(Arc::default(), OutlierOptions::new());
        for n in 0..20 {
            let functions = (0..1_000).map(|i| offer(&format!("f{n}-{i}"))).collect();
            let node = Arc::new(Sample { functions, ..Sample::new("one") }.node());
            registry.insert(&node).unwrap();
            registry.remove(&node);
        }
        assert_eq!(registry.known.len(), MAX_KNOWN);
        assert!(registry.names.is_empty() && registry.table.nodes().is_empty());
    }

    #[test]
    fn places_are_used_again() {
        let mut registry = NodeRegistry::new(Arc::default(), OutlierOptions::new());
        let node = |n: usize| Arc::new(Sample::new(&format!("node-{n}")).node());
        let nodes: Vec<_> = (0..10).map(node).collect();
        nodes.iter().for_each(|node| assert!(registry.insert(node).unwrap().is_none()));
        nodes[..5].iter().for_each(|node| registry.remove(node));
        (10..15).for_each(|n| drop(registry.insert(&node(n)).unwrap()));
        let mut places: Vec<_> = registry.table.nodes().iter().map(|node| node.place()).collect();
        places.sort_unstable();
        assert_eq!(places, (0..10).collect::<Vec<_>>());
    }
}
