//! All operators of one stream.

use std::task::{Context, Poll};

use crate::function::operators::piece::{Flow, ItemForm};
use crate::function::operators::stage::{Shared, Source, Stage, poll_stages, pump};
use crate::function::outcome::Value;
use crate::wire::operators::Operator;

/// The operators of one stream, in order. Items are polled through it from the end, so that the
/// function is asked for an item only if there is use for it.
#[derive(Debug)]
pub(crate) struct OperatorChain<V, X> {
    stages: Vec<Stage<V, X>>,
    shared: Shared,
}

/// Items that a chain looks at in one poll: as many as tokio's cooperative budget allows.
const TURNS: u32 = 128;

impl<V: Value, X> OperatorChain<V, X> {
    /// Creates a chain of `operators`.
    pub(crate) fn new(operators: &[Operator], form: ItemForm) -> Self {
        let stages = operators.iter().filter_map(|operator| Stage::new(*operator)).collect();
        Self { stages, shared: Shared { form, skipped: 0, turns: TURNS } }
    }

    /// Returns whether the chain has to run on the node's runtime, and not on the thread of an
    /// iterator.
    pub(crate) fn needs_runtime(&self) -> bool {
        self.stages.iter().any(Stage::needs_runtime)
    }

    /// Polls for what comes out of the chain.
    pub(super) fn poll(
        &mut self,
        source: Source<'_, V, X>,
        context: &mut Context<'_>,
    ) -> Poll<Flow<V, X>> {
        self.shared.turns = TURNS;
        poll_stages(&mut self.stages, &mut self.shared, source, context)
    }

    /// Takes what the function produces, as far as operators have use for it, while nothing may
    /// come out of the chain.
    pub(super) fn pump(&mut self, source: Source<'_, V, X>, context: &mut Context<'_>) {
        self.shared.turns = TURNS;
        if let Some(last) = self.stages.iter().rposition(|stage| stage.slot().is_some()) {
            pump(&mut self.stages[..=last], &mut self.shared, source, context);
        }
    }

    /// Returns whether the function goes on while nothing may come out of the chain.
    pub(super) fn pumps(&self) -> bool {
        let last = self.stages.iter().rev().find_map(Stage::slot);
        last.is_some_and(|slot| !slot.is_full())
    }

    /// Returns whether the stream has ended, whatever the function does.
    pub(super) fn is_over(&self) -> bool {
        self.stages.iter().rev().take_while(|stage| !stage.holds()).any(Stage::is_over)
    }

    /// Returns the number of items that have been left out.
    pub(super) fn skipped(&self) -> u64 {
        self.shared.skipped
    }

    /// Returns the bytes of memory that the operators hold, as far as they are known.
    pub(super) fn held(&self) -> usize {
        self.stages.iter().map(Stage::held).sum()
    }
}
