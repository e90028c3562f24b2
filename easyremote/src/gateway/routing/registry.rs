//! The nodes that are registered, and the changes to the routing table. Behind a lock of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::table::RoutingTable;

/// Makes the next routing table. Others see it when the router has published it.
#[derive(Debug)]
pub(crate) struct NodeRegistry<H> {
    /// The latest snapshot.
    table: Arc<RoutingTable<H>>,
    /// Places that a node has left, to be used again.
    vacant: BTreeSet<usize>,
}

impl<H: NodeHandle> NodeRegistry<H> {
    pub(crate) fn new() -> Self {
        Self { table: Arc::default(), vacant: BTreeSet::new() }
    }

    pub(crate) fn table(&self) -> &Arc<RoutingTable<H>> {
        &self.table
    }

    /// Returns the session whose id `node` takes over.
    ///
    /// # Errors
    /// `PermissionDenied` if that session stays.
    pub(crate) fn replaced_by(
        &self,
        node: &RoutedNode<H>,
    ) -> Result<Option<Arc<RoutedNode<H>>>, Error> {
        let old = self.table.node(node.id()).cloned();
        if let Some(old) = old.as_ref().filter(|old| !old.yields_to(node)) {
            let why = match old.identity() == node.identity() {
                true => "and was started after this one",
                false => "with another identity",
            };
            let id = node.id();
            let text = format!(
                "a node called `{id}` is connected already, {why}; give each node an id of its own"
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        Ok(old)
    }

    /// Returns whether this is the session that has the node's id.
    pub(crate) fn is_current(&self, node: &Arc<RoutedNode<H>>) -> bool {
        self.table.node(node.id()).is_some_and(|current| Arc::ptr_eq(current, node))
    }

    /// Adds a node, whose id no other session has.
    pub(crate) fn insert(&mut self, node: &Arc<RoutedNode<H>>) {
        let place = self.vacant.pop_first().unwrap_or(self.table.n_nodes());
        self.change(|table| table.insert(node, place));
    }

    /// Removes a node that is there. Returns the functions that no node offers any more.
    pub(crate) fn remove(&mut self, node: &RoutedNode<H>) -> Vec<String> {
        self.vacant.insert(node.place());
        self.change(|table| table.remove(node))
    }

    /// Replaces the tags of a node that is there.
    pub(crate) fn retag(&mut self, node: &RoutedNode<H>, tags: Vec<String>) {
        let old = node.tags();
        // A call that reads the older snapshot sees them as well: it could as well be a little late.
        node.set_tags(tags);
        self.change(|table| table.retag(node, &old));
    }

    /// Makes a new table of the old one, which calls may still read.
    fn change<R>(&mut self, change: impl FnOnce(&mut RoutingTable<H>) -> R) -> R {
        let mut table = RoutingTable::clone(&self.table);
        let result = change(&mut table);
        self.table = Arc::new(table);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::routing::sample::Sample;

    #[test]
    fn places_are_used_again() {
        let mut registry = NodeRegistry::new();
        let node = |n: usize| Arc::new(Sample::new(&format!("node-{n}")).node());
        let nodes: Vec<_> = (0..10).map(node).collect();
        nodes.iter().for_each(|node| registry.insert(node));
        nodes[..5].iter().for_each(|node| drop(registry.remove(node)));
        (10..15).for_each(|n| registry.insert(&node(n)));
        let mut places: Vec<_> = registry.table.nodes().iter().map(|node| node.place()).collect();
        places.sort_unstable();
        assert_eq!(places, (0..10).collect::<Vec<_>>());
    }
}
