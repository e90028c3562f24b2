//! Structs that request a map, or any value: those with flattened fields or a tag.
//!
//! Such a type does not list its fields. But its error names a missing field, so each pass hands
//! out one more field, until none is missing.

use super::graph::{Fault, Graph, NodeKind, Rejection};

/// The number of the part that is the value of the first key. The parts of a map with any keys come
/// before it.
pub(super) const FIRST_KEYED: usize = 2;

/// Number of samples of [`NodeKind::Any`].
pub(super) const N_ANY: usize = 7;

/// Most fields or variants of an [`NodeKind::Identifier`] that are tried.
pub(super) const N_IDENTIFIERS: usize = 64;

impl Graph {
    /// Records why the part that has just been made was rejected. `around` is the node that took
    /// fields by key before.
    ///
    /// A struct with a tag looks for its fields after it has read all entries: a field that it
    /// misses then is a key of the inner map.
    pub(super) fn leave(&mut self, around: Option<usize>, rejection: Option<&Rejection>) {
        let inside = std::mem::replace(&mut self.keyed, around);
        if let (Some(node), Some(rejection), Fault::None) = (inside, rejection, self.fault)
            && !self.answered_later(node, rejection)
        {
            self.note_missed(node, rejection);
        }
    }

    /// Records which field a struct has missed, to hand it out in the next pass.
    ///
    /// serde buffers the fields of a flattened struct without their types. If such a field is
    /// rejected, another sample of any type is tried for the field that was handed out last.
    pub(super) fn missed<T>(
        &mut self,
        node: usize,
        made: Result<T, Rejection>,
    ) -> Result<T, Rejection> {
        let Err(rejection) = made else { return made };
        self.note_missed(node, &rejection);
        Err(Rejection { missing: None, ..rejection })
    }

    fn note_missed(&mut self, node: usize, rejection: &Rejection) {
        self.unbuffered |= rejection.unbuffered;
        let branch = &mut self.nodes[node].branches[0];
        match rejection.missing {
            Some(field) if !branch.keys.contains(&field) && branch.keys.len() < MAX_KEYS => {
                branch.keys.push(field);
                (self.fault, self.progress) = (Fault::Retry, true);
            }
            None if self.fault == Fault::None => {
                let last = branch.keys.len().checked_sub(1).map(|last| FIRST_KEYED + last);
                let value = last.and_then(|last| branch.slots.get(last).copied().flatten());
                if let Some(value) = value.map(|id| &mut self.nodes[id])
                    && value.key.kind == NodeKind::Any
                    && value.choice + 1 < N_ANY
                {
                    value.choice += 1;
                    (self.fault, self.progress) = (Fault::Retry, true);
                }
            }
            _ => {}
        }
    }
}

/// Most fields of one struct that are searched.
const MAX_KEYS: usize = 256;
