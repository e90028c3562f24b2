//! The search for unexplored branches: which value to hand out at which place, and what to do when
//! the type rejects it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::de::DeserializeOwned;

use super::graph::{Fault, Graph, GraphNode, NodeKind, Rejection, Turn};
use super::keyed::{N_ANY, N_IDENTIFIERS};
use super::samples::{LENGTHS, MAX_SAMPLES, n_samples};
use super::tracer::Tracer;

impl Graph {
    /// Traces `T` until nothing is unexplored or a limit is reached. Passes each value that is made
    /// to `keep`.
    pub(crate) fn explore<T: DeserializeOwned>(&mut self, keep: &mut impl FnMut(T)) {
        let mut panics = 0;
        for _ in 0..MAX_PASSES {
            self.trail.clear();
            self.fault = Fault::None;
            self.progress = false;
            let made = self.pass::<T>();
            panics += u32::from(made.is_err());
            let ok = made.is_ok_and(|made| made.map(&mut *keep).is_some());
            self.freeze(0, ok);
            if self.exhausted || panics > MAX_PANICS {
                break;
            }
            match self.find_unexplored() {
                None if ok || !self.progress => break,
                // The plan leads there, but the user's code did not follow it.
                Some((node, branch)) if !self.progress => self.strike(node, branch),
                _ => {}
            }
        }
    }

    /// Makes further values of a traced `T`: for each choice one value that has it, and is the
    /// smallest otherwise.
    pub(crate) fn vary<T: DeserializeOwned>(&mut self, keep: &mut impl FnMut(T)) {
        let ways = self.ways();
        let mut passes = MAX_VARIATIONS;
        for id in 0..self.nodes.len() {
            for choice in 0..self.nodes[id].n_choices().min(MAX_CHOICES) {
                // Which fields a struct with a tag misses depends on the variant.
                loop {
                    if passes == 0 || self.exhausted {
                        return;
                    }
                    passes -= 1;
                    self.rest_around(id, choice, &ways);
                    match self.pass::<T>() {
                        Ok(Some(value)) => keep(value),
                        Ok(None) if self.progress => continue,
                        Ok(None) => {}
                        Err(Panicked) => return,
                    }
                    break;
                }
            }
        }
    }

    /// Lets all nodes rest on their smallest value, except `id` and those on the way to it.
    pub(super) fn rest_around(
        &mut self,
        id: usize,
        choice: usize,
        ways: &[Option<(usize, usize)>],
    ) {
        for node in self.nodes.iter_mut().filter(|node| !node.is_leaf() || node.tries == 0) {
            if node.key.kind != NodeKind::Any {
                node.choice = 0;
            }
        }
        let mut step = ways.get(id).copied().flatten();
        while let Some((around, branch)) = step {
            let node = &mut self.nodes[around];
            node.choice = match node.key.kind {
                NodeKind::Enum(..) => {
                    node.finished.iter().position(|finished| *finished == branch).unwrap_or(0)
                }
                _ => usize::from(node.n_choices() > 1 && node.key.kind.has_choice()),
            };
            step = ways[around];
        }
        if self.nodes[id].tries == 0 {
            self.nodes[id].choice = choice;
        }
        self.plan.clear();
        self.trail.clear();
        (self.fault, self.progress) = (Fault::None, false);
    }

    /// Returns for each node the node and branch from which the shortest way leads to it.
    pub(super) fn ways(&self) -> Vec<Option<(usize, usize)>> {
        let mut came_from: Vec<Option<(usize, usize)>> = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([0]);
        while let Some(id) = queue.pop_front() {
            for (b, branch) in self.nodes[id].branches.iter().enumerate() {
                for &next in branch.slots.iter().flatten() {
                    if next != 0 && came_from[next].is_none() {
                        came_from[next] = Some((id, b));
                        queue.push_back(next);
                    }
                }
            }
        }
        came_from
    }

    /// Runs the type's `Deserialize` once.
    ///
    /// # Errors
    /// If it panicked, at a sample that it does not expect.
    pub(super) fn pass<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Panicked> {
        self.keyed = None;
        let made = catch_unwind(AssertUnwindSafe(|| {
            let made = T::deserialize(Tracer::root(self));
            self.leave(None, made.as_ref().err());
            made.ok()
        }));
        made.map_err(|_| {
            let branches = self.nodes.iter_mut().flat_map(|node| &mut node.branches);
            branches.for_each(|branch| branch.open = false);
            self.fault = Fault::None;
            Panicked
        })
    }

    /// Plans the shortest way to a branch to explore, and returns that branch.
    fn find_unexplored(&mut self) -> Option<(usize, usize)> {
        self.plan.clear();
        let mut came_from: Vec<Option<(usize, usize)>> = vec![None; self.nodes.len()];
        let mut queue = VecDeque::from([0]);
        while let Some(id) = queue.pop_front() {
            let node = &self.nodes[id];
            if let Some(fresh) = node.unexplored() {
                let mut step = Some((id, fresh));
                while let Some((node, branch)) = step {
                    self.plan.insert(node, branch);
                    step = came_from[node];
                }
                return Some((id, fresh));
            }
            for (b, branch) in node.branches.iter().enumerate() {
                for &next in branch.slots.iter().flatten() {
                    if next != 0 && came_from[next].is_none() {
                        came_from[next] = Some((id, b));
                        queue.push_back(next);
                    }
                }
            }
        }
        None
    }

    /// Returns the sample for a leaf.
    pub(crate) fn sample(&mut self, id: usize) -> usize {
        self.trail.push(id);
        self.nodes[id].choice
    }

    /// Returns what to do at a node with a choice.
    pub(crate) fn turn(&mut self, id: usize) -> Result<Turn, Rejection> {
        let node = &self.nodes[id];
        let reentered = node.branches.iter().any(|branch| branch.open);
        if !reentered && let Some(&branch) = self.plan.get(&id) {
            return Ok(Turn::Explore(branch));
        }
        let fresh = if reentered { None } else { node.unexplored() };
        if let Some(branch) = fresh {
            return Ok(Turn::Explore(branch));
        }
        // Inside itself always the first choice: the empty value, or the variant that was completed
        // first, which needs only types completed before. So nesting ends.
        let choice = if reentered { 0 } else { node.choice };
        let rest = match node.key.kind {
            NodeKind::Enum(..) => node.finished.get(choice).copied(),
            _ => Some(choice),
        };
        let Some(rest) = rest else {
            return self.stuck();
        };
        if !reentered {
            self.trail.push(id);
        }
        Ok(Turn::Rest(rest))
    }

    /// Makes a value of a branch with `make`, and records the outcome.
    pub(crate) fn take<R>(
        &mut self,
        id: usize,
        branch: usize,
        make: impl FnOnce(&mut Self) -> Result<R, Rejection>,
    ) -> Result<R, Rejection> {
        let start = self.trail.len();
        let was_open = std::mem::replace(&mut self.nodes[id].branches[branch].open, true);
        let made = make(self);
        self.nodes[id].branches[branch].open = was_open;
        self.freeze(start, made.is_ok());
        if made.is_ok() {
            self.finish(id, branch);
        } else if self.fault == Fault::Stuck && !self.nodes[id].branches[branch].done {
            self.strike(id, branch);
            self.fault = Fault::Retry;
        }
        made
    }

    /// Records that a branch is explored.
    pub(crate) fn finish(&mut self, id: usize, branch: usize) {
        let node = &mut self.nodes[id];
        if !node.key.kind.has_choice() || node.branches[branch].done {
            return;
        }
        node.branches[branch].done = true;
        node.finished.push(branch);
        self.progress = true;
        if matches!(node.key.kind, NodeKind::Enum(..)) && node.finished.len() == 1 {
            // Branches that failed because this enum had no value can succeed now.
            let branches = self.nodes.iter_mut().flat_map(|node| &mut node.branches);
            branches.for_each(|branch| branch.strikes = 0);
        }
        // Following the plan again at each further occurrence would take many visits.
        if self.plan.get(&id) == Some(&branch) {
            self.plan.clear();
        }
    }

    /// Records that an enum has no variant of this number.
    pub(crate) fn lack(&mut self, id: usize, branch: usize) {
        let branch = &mut self.nodes[id].branches[branch];
        branch.absent = true;
        branch.strikes = MAX_STRIKES;
        self.progress = true;
    }

    /// Records that a pass found no way through a branch.
    fn strike(&mut self, id: usize, branch: usize) {
        self.nodes[id].branches[branch].strikes += 1;
        self.progress = true;
    }

    /// To be called when user code returns. `start` is the length of the trail when it was called.
    ///
    /// A new error is attributed to the samples that were handed out since.
    pub(crate) fn freeze(&mut self, start: usize, ok: bool) {
        if ok {
            self.fault = Fault::None;
        } else if self.fault == Fault::None {
            self.fault = if self.advance(start) { Fault::Retry } else { Fault::Stuck };
        }
    }

    /// Advances the nodes visited since `start` to their next combination of samples. Returns
    /// whether one was left.
    ///
    /// First all leaves advance together, which satisfies a type that requires all fields to be
    /// set. Then they count like an odometer, the last one fastest, which satisfies a type that
    /// requires the second of two numbers to be larger. Lengths, options and variants are the
    /// slowest digits, because each has separate leaves, which would be tried in vain.
    fn advance(&mut self, start: usize) -> bool {
        let Some(&first) = self.trail.get(start) else {
            return false;
        };
        self.nodes[first].tries += 1;
        let tries = self.nodes[first].tries;
        if tries > MAX_TRIES {
            return false;
        }
        let is_leaf = |id: &usize| self.nodes[*id].is_leaf();
        let (leaves, mut wheels): (Vec<_>, Vec<_>) =
            self.trail[start..].iter().copied().partition(is_leaf);
        wheels.extend(&leaves);
        let together = leaves.iter().any(|id| *id != leaves[0]);
        if together && tries <= MAX_SAMPLES {
            for id in leaves {
                self.nodes[id].choice = tries.min(self.nodes[id].n_choices() - 1);
            }
            self.progress = true;
            return true;
        }
        if together && tries == MAX_SAMPLES + 1 {
            self.progress = true;
            wheels.iter().for_each(|id| self.nodes[*id].choice = 0);
            return true;
        }
        let can_turn = |id: &usize| self.nodes[*id].choice + 1 < self.nodes[*id].n_choices();
        let Some(wheel) = wheels.iter().rposition(can_turn) else {
            return false;
        };
        for faster in &wheels[wheel + 1..] {
            self.nodes[*faster].choice = 0;
        }
        self.nodes[wheels[wheel]].choice += 1;
        self.progress = true;
        true
    }

    /// Returns the length of the trail, for [`freeze`](Self::freeze).
    pub(crate) fn mark(&self) -> usize {
        self.trail.len()
    }
}

impl GraphNode {
    /// Returns whether its samples are values without parts.
    fn is_leaf(&self) -> bool {
        matches!(self.key.kind, NodeKind::Leaf(_) | NodeKind::Any | NodeKind::Identifier)
    }

    /// Returns the branch to explore next: the one that has failed least.
    fn unexplored(&self) -> Option<usize> {
        let branches = self.branches.iter().enumerate().filter(|(_, branch)| {
            self.key.kind.has_choice()
                && !branch.done
                && !branch.absent
                && branch.strikes < MAX_STRIKES
        });
        branches.min_by_key(|(i, branch)| (branch.strikes, *i)).map(|(i, _)| i)
    }

    /// Returns the number of values to rest on.
    fn n_choices(&self) -> usize {
        match &self.key.kind {
            NodeKind::Leaf(leaf) => n_samples(leaf),
            // A type that has named missing fields is a map.
            NodeKind::Any if !self.branches[0].keys.is_empty() => 1,
            NodeKind::Any => N_ANY,
            NodeKind::Identifier => N_IDENTIFIERS,
            NodeKind::Enum(..) => self.finished.len(),
            // An unexplored node has only the empty value.
            _ if self.finished.is_empty() => 1,
            NodeKind::Seq => LENGTHS.len(),
            _ => 2,
        }
    }
}

/// The error of a user's `Deserialize` that panicked.
pub(super) struct Panicked;

/// Most values that [`Graph::vary`] tries to make, of all nodes and of one.
const MAX_VARIATIONS: usize = 512;
const MAX_CHOICES: usize = 64;
/// Panics of one `Deserialize` after which tracing stops. Each panic writes to the program's
/// standard error.
const MAX_PANICS: u32 = 3;
/// Most runs of one `Deserialize`. An enum takes one per variant, or two or three if it is
/// recursive. This is enough for a syntax tree with several hundred variants.
const MAX_PASSES: u32 = 4_096;
/// Most rejections that begin with one node: enough for two strings that depend on each other.
const MAX_TRIES: usize = 512;
/// Most failures of a branch. The first may be due to a missing variant that is not recursive.
const MAX_STRIKES: u32 = 2;
