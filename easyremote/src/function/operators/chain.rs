//! All operators of one stream.

use std::task::{Context, Poll};

use crate::function::operators::applied::RunningOperator;
use crate::function::operators::piece::{Flow, ItemForm};
use crate::function::operators::stage::{Shared, Source, Stage, poll_stages, pump};
use crate::function::outcome::Value;
use crate::wire::codec::Codec;
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
    /// Creates a chain of `operators`, whose items leave in the form `form`. `running` are the
    /// functions that it applies, in order.
    pub(crate) fn new(
        operators: &[Operator],
        running: Vec<RunningOperator>,
        form: ItemForm,
    ) -> Self {
        let mut running = running.into_iter().enumerate();
        let stage = |operator: &Operator| Stage::new(operator, &mut running);
        let stages: Vec<_> = operators.iter().filter_map(stage).collect();
        let inner = stages.iter().rposition(Stage::is_function).unwrap_or(0);
        // What a function takes must not have changed on the way, as it may in JSON.
        let before = ItemForm { codec: Codec::Bincode, ..form };
        let shared = Shared { form, before, inner, skipped: 0, each: Vec::new(), turns: TURNS };
        Self { stages, shared }
    }

    /// Also counts what each function leaves out.
    pub(crate) fn counting_each(mut self) -> Self {
        self.shared.each = vec![0; self.stages.iter().filter(|it| it.is_function()).count()];
        self
    }

    /// Returns the form of encoded items that enter the chain.
    #[cfg(feature = "testing")]
    pub(crate) fn entry(&self) -> ItemForm {
        let applies = self.stages.iter().any(Stage::is_function);
        if applies { self.shared.before } else { self.shared.form }
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

    /// Returns what each function has left out, if that is [counted](Self::counting_each).
    pub(super) fn skipped_by_each(&self) -> &[u64] {
        &self.shared.each
    }

    /// Returns the bytes of memory that the operators hold, as far as they are known.
    pub(super) fn held(&self) -> usize {
        self.stages.iter().map(Stage::held).sum()
    }
}
