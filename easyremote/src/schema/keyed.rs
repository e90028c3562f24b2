//! Structs that ask for a map, or for whatever comes: those with flattened fields or a tag.
//!
//! Such a type names its fields nowhere. But it says which field it misses, so it is given that one
//! the next time, until it misses none.

use super::graph::{Fault, Graph, NodeKind, Rejection};

/// The number of the part that is the value of the first key; before it are the parts of a map
/// with any keys.
pub(super) const FIRST_KEYED: usize = 2;

/// How many samples there are of [`NodeKind::Any`].
pub(super) const N_ANY: usize = 7;

/// How many fields or variants an [`NodeKind::Identifier`] may be of, to find samples of each.
pub(super) const N_IDENTIFIERS: usize = 64;

impl Graph {
    /// Notes why the part was refused that has just been made; `around` is what took fields by key
    /// before it was.
    ///
    /// A struct with a tag looks for its fields when it has all that came: what it misses then is
    /// a key of the map inside.
    pub(super) fn leave(&mut self, around: Option<usize>, rejection: Option<&Rejection>) {
        let inside = std::mem::replace(&mut self.keyed, around);
        if let (Some(node), Some(rejection), Fault::None) = (inside, rejection, self.fault) {
            self.note_missed(node, rejection);
        }
    }

    /// Notes which field a struct has missed, to give it the next time.
    ///
    /// What a flattened struct takes has no type on the way to it: if it is refused, another one of
    /// the samples of anything is tried for the field that came last.
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

/// Fields of one struct that are looked for.
const MAX_KEYS: usize = 256;
