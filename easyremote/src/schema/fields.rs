//! The named fields of a struct, or of a variant that is one.
//!
//! Fields are handed out in order, as bincode does. That leaves two things unknown: the types after
//! a field that accepts no sample, and which of the listed names are aliases. For these the struct
//! is deserialized once more by name, in a suitable order.

use super::graph::{Fault, FieldMode, Fields, Graph};

impl Graph {
    /// Returns the fields of a branch.
    pub(super) fn fields(&mut self, node: usize, branch: usize) -> &mut Fields {
        self.nodes[node].branches[branch].fields.get_or_insert_default()
    }

    /// Returns whether a field of a branch has not been visited.
    fn has_unseen(&mut self, node: usize, branch: usize) -> bool {
        let n = self.fields(node, branch).names.len();
        let slots = &self.nodes[node].branches[branch].slots;
        !self.exhausted && (0..n).any(|index| slots.get(index).is_none_or(Option::is_none))
    }

    /// Makes the next pass use `mode`.
    fn retry(&mut self, node: usize, branch: usize, mode: FieldMode) {
        self.fields(node, branch).mode = mode;
        self.progress = true;
    }

    /// Records the outcome of a visit in order, which requested `taken` fields.
    pub(super) fn visited_in_order(&mut self, node: usize, branch: usize, taken: usize, ok: bool) {
        if self.fields(node, branch).mode == FieldMode::Settled {
            return;
        }
        if ok {
            if taken < self.fields(node, branch).names.len() {
                self.retry(node, branch, FieldMode::Aliases);
            }
        } else if self.fault == Fault::Stuck && self.has_unseen(node, branch) {
            self.fault = Fault::Retry;
            self.fields(node, branch).refused.extend(taken.checked_sub(1));
            self.retry(node, branch, FieldMode::Around);
        }
    }

    /// Records that a visit by name succeeded.
    pub(super) fn visited_by_name(&mut self, node: usize, branch: usize) {
        if self.fields(node, branch).mode == FieldMode::Aliases {
            self.retry(node, branch, FieldMode::Settled);
        }
    }

    /// Records that the type accepts its fields only in order.
    pub(super) fn cannot_by_name(&mut self, node: usize, branch: usize) {
        let around = self.fields(node, branch).mode == FieldMode::Around;
        self.fault = if around { Fault::Stuck } else { Fault::Retry };
        self.retry(node, branch, FieldMode::Settled);
    }

    /// Records that `name` is an alias: the type rejected it as a duplicate of `field`.
    pub(super) fn alias(
        &mut self,
        node: usize,
        branch: usize,
        field: &'static str,
        name: &'static str,
    ) {
        let fields = self.fields(node, branch);
        if name != field {
            fields.names.retain(|known| *known != name);
            // The fields are visited again, at the positions that they have without the alias.
            fields.refused.clear();
            self.nodes[node].branches[branch].slots.clear();
        } else if !fields.leading.contains(&field) {
            fields.leading.push(field);
        } else {
            return;
        }
        self.fault = Fault::Retry;
        self.progress = true;
    }

    /// Records that a visit by name failed at the field `last`.
    pub(super) fn refused_by_name(&mut self, node: usize, branch: usize, last: Option<usize>) {
        if self.fault == Fault::Stuck && self.has_unseen(node, branch) {
            self.fields(node, branch).refused.extend(last);
            self.fault = Fault::Retry;
            self.progress = true;
        }
    }

    /// Returns the order in which to hand out fields by name.
    pub(super) fn order(&mut self, node: usize, branch: usize) -> Vec<(usize, &'static str)> {
        let names = self.fields(node, branch).names.clone();
        let Graph { nodes, plan, .. } = self;
        let branch = &nodes[node].branches[branch];
        let rank = |(index, name): &(usize, &'static str)| {
            let fields = branch.fields.as_ref();
            let seen = branch.slots.get(*index).copied().flatten();
            let refused = fields.is_some_and(|fields| fields.refused.contains(index));
            let leading = fields.is_some_and(|fields| fields.leading.contains(name));
            match seen {
                _ if leading => 0,
                None => 1,
                Some(_) if refused => 4,
                // On the planned way to the branch to explore.
                Some(id) if plan.contains_key(&id) => 2,
                Some(_) => 3,
            }
        };
        let mut order: Vec<_> = names.into_iter().enumerate().collect();
        order.sort_by_key(rank);
        order
    }
}
