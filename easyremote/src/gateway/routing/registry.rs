//! The registered nodes, and changes to the routing table. Guarded by a separate lock.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::gateway::routing::node::{NodeHandle, RoutedNode};
use crate::gateway::routing::table::RoutingTable;

/// Builds the next routing table. It takes effect when the router publishes it.
#[derive(Debug)]
pub(crate) struct NodeRegistry<H> {
    /// The latest snapshot.
    table: Arc<RoutingTable<H>>,
    /// Indices that removed nodes have freed.
    vacant: BTreeSet<usize>,
}

impl<H: NodeHandle> NodeRegistry<H> {
    pub(crate) fn new() -> Self {
        Self { table: Arc::default(), vacant: BTreeSet::new() }
    }

    pub(crate) fn table(&self) -> &Arc<RoutingTable<H>> {
        &self.table
    }

    /// Returns the session that `node` replaces, if its id is in use.
    ///
    /// # Errors
    /// `PermissionDenied` if that session keeps its id.
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
                "a node called `{id}` is connected already, {why}; give each node a unique id"
            );
            return Err(Error::new(ErrorKind::PermissionDenied, text));
        }
        Ok(old)
    }

    /// Returns whether `node` is the current session of its id.
    pub(crate) fn is_current(&self, node: &Arc<RoutedNode<H>>) -> bool {
        self.table.node(node.id()).is_some_and(|current| Arc::ptr_eq(current, node))
    }

    /// Adds a node whose id is not in use.
    pub(crate) fn insert(&mut self, node: &Arc<RoutedNode<H>>) {
        let place = self.vacant.pop_first().unwrap_or(self.table.n_nodes());
        self.change(|table| table.insert(node, place));
    }

    /// Removes a registered node. Returns the functions that no node offers any more.
    pub(crate) fn remove(&mut self, node: &RoutedNode<H>) -> Vec<String> {
        self.vacant.insert(node.place());
        self.change(|table| table.remove(node))
    }

    /// Replaces the tags of a registered node.
    pub(crate) fn retag(&mut self, node: &RoutedNode<H>, tags: Vec<String>) {
        let old = node.tags();
        // A call that reads the older snapshot sees them too, which is as if it had come slightly
        // later.
        node.set_tags(tags);
        self.change(|table| table.retag(node, &old));
    }

    /// Copies the table, which calls may still be reading, and applies `change` to the copy.
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
