//! What one operator does, and what it holds.

use std::iter::Enumerate;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::vec::IntoIter;

use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::function::operators::applied::RunningOperator;
use crate::function::operators::piece::{After, Batch, EncodedItem, Flow, ItemForm, Piece};
use crate::function::operators::stride::Stride;
use crate::function::outcome::Value;
use crate::wire::operators::Operator;

/// Where the items come from: the function.
pub(super) type Source<'a, V, X> = &'a mut dyn FnMut(&mut Context<'_>) -> Poll<Flow<V, X>>;

/// One operator at work.
#[derive(Debug)]
pub(super) enum Stage<V, X> {
    Take {
        left: u64,
    },
    Stride(Stride),
    Dedup {
        last: Option<Vec<u8>>,
    },
    Sample {
        slot: NewestSlot<V, X>,
        interval: Duration,
        window: SampleWindow,
    },
    Latest {
        slot: NewestSlot<V, X>,
    },
    Batches(Batches<X>),
    /// A function, and its number among those of the chain.
    Through(RunningOperator, usize),
}

/// Holds the newest item, and what came after it.
#[derive(Debug)]
pub(super) struct NewestSlot<V, X> {
    newest: Option<Piece<V>>,
    after: Option<After<X>>,
}

/// The time in which nothing may pass.
#[derive(Debug, Default)]
pub(super) struct SampleWindow {
    end: Option<Instant>,
    /// Set while an item waits for the end.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Collects lists.
#[derive(Debug)]
pub(super) struct Batches<X> {
    max: u64,
    wait: Duration,
    batch: Batch,
    /// Set from the first item of a list until it is passed.
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the list is complete.
    closed: bool,
    /// The first item of the next list: it did not fit into this one.
    next: Option<EncodedItem>,
    after: Option<After<X>>,
}

/// What the stages of a chain share.
#[derive(Debug)]
pub(super) struct Shared {
    /// The form of the items that leave the chain.
    pub(super) form: ItemForm,
    /// The form of encoded items before the last function.
    pub(super) before: ItemForm,
    /// The number of stages before the last function.
    pub(super) inner: usize,
    /// Items that have been left out.
    pub(super) skipped: u64,
    /// Those that each function has left out; empty if that is not counted.
    pub(super) each: Vec<u64>,
    /// Items that may still be looked at in this poll.
    pub(super) turns: u32,
}

impl Shared {
    /// Returns the form of encoded items that leave the stage of this index.
    pub(super) fn form_at(&self, index: usize) -> &ItemForm {
        if index < self.inner { &self.before } else { &self.form }
    }

    /// Counts an item that is not passed on. Returns whether this poll may look at another one;
    /// otherwise the task is woken again, after others have had their turn.
    fn goes_on(&mut self, context: &Context<'_>) -> bool {
        self.turns = self.turns.saturating_sub(1);
        if self.turns == 0 {
            context.waker().wake_by_ref();
        }
        self.turns > 0
    }
}

impl<V: Value, X> Stage<V, X> {
    /// Creates the stage of an operator; `None` if it is not one: it only limits how far the stream
    /// may run ahead.
    ///
    /// `running` are the functions of the chain that have no stage yet.
    pub(super) fn new(
        operator: &Operator,
        running: &mut Enumerate<IntoIter<RunningOperator>>,
    ) -> Option<Self> {
        let slot = || NewestSlot { newest: None, after: None };
        Some(match *operator {
            Operator::Take(items) => Self::Take { left: items },
            Operator::Skip(items) => Self::Stride(Stride::skip(items)),
            Operator::Every(step) => Self::Stride(Stride::every(step)),
            Operator::Sample(interval) => {
                Self::Sample { slot: slot(), interval, window: SampleWindow::default() }
            }
            Operator::Latest => Self::Latest { slot: slot() },
            Operator::Dedup => Self::Dedup { last: None },
            Operator::Batches { items, wait } => Self::Batches(Batches {
                max: items,
                wait,
                batch: Batch::default(),
                timer: None,
                closed: false,
                next: None,
                after: None,
            }),
            Operator::Through(_) => {
                let (number, function) = running.next()?;
                Self::Through(function, number)
            }
            Operator::Buffer(_) => return None,
        })
    }

    /// Returns whether it applies a function.
    pub(super) fn is_function(&self) -> bool {
        matches!(self, Self::Through(..))
    }

    /// Returns whether it needs the node's runtime: it has a timer, or goes on while nothing asks
    /// it for items.
    pub(super) fn needs_runtime(&self) -> bool {
        matches!(self, Self::Sample { .. } | Self::Latest { .. } | Self::Batches(_))
    }

    /// Returns whether it goes on while nothing asks it for items.
    pub(super) fn slot(&self) -> Option<&NewestSlot<V, X>> {
        match self {
            Self::Sample { slot, .. } | Self::Latest { slot } => Some(slot),
            _ => None,
        }
    }

    /// Returns whether nothing more comes out of it, whatever its function produces.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, Self::Take { left: 0 })
    }

    /// Returns whether it holds items, or an error.
    pub(super) fn holds(&self) -> bool {
        let (held, after) = match self {
            Self::Sample { slot, .. } | Self::Latest { slot } => {
                (slot.newest.is_some(), &slot.after)
            }
            Self::Batches(batches) => {
                (batches.batch.items() > 0 || batches.next.is_some(), &batches.after)
            }
            _ => return false,
        };
        held || !matches!(after, None | Some(After::End))
    }

    /// Returns the bytes of memory that it holds, as far as they are known.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Sample { slot, .. } | Self::Latest { slot } => {
                slot.newest.as_ref().map_or(0, Piece::held)
            }
            Self::Batches(batches) => {
                let next = batches.next.as_ref().map_or(0, |next| next.bytes.len());
                batches.batch.held() + next
            }
            Self::Dedup { last } => last.as_ref().map_or(0, Vec::len),
            Self::Take { .. } | Self::Stride(_) | Self::Through(..) => 0,
        }
    }
}

/// Polls for what comes out of the last of `stages`.
pub(super) fn poll_stages<V: Value, X>(
    stages: &mut [Stage<V, X>],
    shared: &mut Shared,
    source: Source<'_, V, X>,
    context: &mut Context<'_>,
) -> Poll<Flow<V, X>> {
    let Some((stage, before)) = stages.split_last_mut() else { return source(context) };
    let index = before.len();
    match stage {
        Stage::Take { left: 0 } => Poll::Ready(Flow::After(After::End)),
        Stage::Take { left } => {
            let flow = ready!(poll_stages(before, shared, source, context));
            if let Flow::Item(_) | Flow::After(After::Fault(_)) = flow {
                *left -= 1;
            }
            Poll::Ready(flow)
        }
        Stage::Latest { slot } => {
            slot.fill(before, shared, source, context);
            slot.take()
        }
        Stage::Sample { slot, interval, window } => {
            slot.fill(before, shared, source, context);
            // What comes after the newest item does not wait for it.
            if slot.newest.is_some() && slot.after.is_none() {
                ready!(window.poll(context));
            }
            if slot.newest.is_some() {
                window.begin(*interval);
            }
            slot.take()
        }
        Stage::Batches(batches) => batches.poll(before, shared, source, context),
        Stage::Stride(_) | Stage::Dedup { .. } | Stage::Through(..) => loop {
            let flow = ready!(poll_stages(before, shared, &mut *source, context));
            if let Some(passed) = stage.filter(flow, shared, index) {
                return Poll::Ready(passed);
            }
            shared.skipped += 1;
            if !shared.goes_on(context) {
                return Poll::Pending;
            }
        },
    }
}

impl<V: Value, X> Stage<V, X> {
    /// Returns what passes of `flow`; `None` if it is left out. `index` is that of the stage.
    fn filter(
        &mut self,
        flow: Flow<V, X>,
        shared: &mut Shared,
        index: usize,
    ) -> Option<Flow<V, X>> {
        match (self, flow) {
            (Self::Stride(stride), Flow::Item(item)) => stride.passes().then_some(Flow::Item(item)),
            (Self::Dedup { last }, Flow::Item(item)) => {
                let encoded = match item.encode(shared.form_at(index)) {
                    Ok(encoded) => encoded,
                    Err(error) => return Some(Flow::After(After::Broken(error))),
                };
                if last.as_ref() == Some(&encoded.bytes) {
                    return None;
                }
                *last = Some(encoded.bytes.clone());
                Some(Flow::Item(Piece::Encoded(encoded)))
            }
            (Self::Dedup { last }, after) => {
                // What is behind an error says that it is over, even if it is nothing new.
                *last = None;
                Some(after)
            }
            (Self::Through(function, number), Flow::Item(item)) => {
                let passed = function.apply(item, &shared.before, shared.form_at(index));
                match passed {
                    Ok(Some(item)) => Some(Flow::Item(item)),
                    Ok(None) => {
                        if let Some(skipped) = shared.each.get_mut(*number) {
                            *skipped += 1;
                        }
                        None
                    }
                    Err(error) => Some(Flow::After(After::Broken(error))),
                }
            }
            (_, flow) => Some(flow),
        }
    }
}

/// Fills the slot of the last of `stages`, which has one.
pub(super) fn pump<V: Value, X>(
    stages: &mut [Stage<V, X>],
    shared: &mut Shared,
    source: Source<'_, V, X>,
    context: &mut Context<'_>,
) {
    if let Some((Stage::Sample { slot, .. } | Stage::Latest { slot }, before)) =
        stages.split_last_mut()
    {
        slot.fill(before, shared, source, context);
    }
}

impl<V: Value, X> NewestSlot<V, X> {
    /// Takes all items that are ready, and keeps the newest.
    fn fill(
        &mut self,
        before: &mut [Stage<V, X>],
        shared: &mut Shared,
        source: Source<'_, V, X>,
        context: &mut Context<'_>,
    ) {
        while self.after.is_none() && shared.turns > 0 {
            match poll_stages(before, shared, &mut *source, context) {
                Poll::Ready(Flow::Item(item)) => {
                    if self.newest.replace(item).is_some() {
                        shared.skipped += 1;
                    }
                    shared.goes_on(context);
                }
                Poll::Ready(Flow::After(after)) => self.after = Some(after),
                Poll::Pending => return,
            }
        }
    }

    /// Returns whether an error or the end keeps it from taking further items.
    pub(super) fn is_full(&self) -> bool {
        self.after.is_some()
    }

    fn take(&mut self) -> Poll<Flow<V, X>> {
        match self.newest.take() {
            Some(newest) => Poll::Ready(Flow::Item(newest)),
            None => take_after(&mut self.after),
        }
    }
}

/// Takes what comes after all items; the end stays.
fn take_after<V, X>(after: &mut Option<After<X>>) -> Poll<Flow<V, X>> {
    match after.take() {
        None => Poll::Pending,
        Some(taken) => {
            if let After::End = taken {
                *after = Some(After::End);
            }
            Poll::Ready(Flow::After(taken))
        }
    }
}

impl SampleWindow {
    /// Waits for the end of the window.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(end) = self.end else { return Poll::Ready(()) };
        if end > Instant::now() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
            ready!(timer.as_mut().poll(context));
        }
        (self.end, self.timer) = (None, None);
        Poll::Ready(())
    }

    /// Begins a new window.
    fn begin(&mut self, length: Duration) {
        (self.end, self.timer) = (Some(Instant::now() + length), None);
    }
}

impl<X> Batches<X> {
    fn poll<V: Value>(
        &mut self,
        before: &mut [Stage<V, X>],
        shared: &mut Shared,
        source: Source<'_, V, X>,
        context: &mut Context<'_>,
    ) -> Poll<Flow<V, X>> {
        let form = *shared.form_at(before.len());
        loop {
            if let Some(timer) = &mut self.timer
                && timer.as_mut().poll(context).is_ready()
            {
                self.closed = true;
            }
            if self.closed || (self.batch.items() > 0 && self.after.is_some()) {
                return Poll::Ready(self.pass(&form));
            }
            if self.after.is_some() {
                return take_after(&mut self.after);
            }
            match ready!(poll_stages(before, shared, &mut *source, context)) {
                Flow::Item(item) => match item.encode(&form) {
                    Ok(item) => self.add(item, &form),
                    Err(error) => self.after = Some(After::Broken(error)),
                },
                Flow::After(after) => self.after = Some(after),
            }
        }
    }

    fn add(&mut self, item: EncodedItem, form: &ItemForm) {
        if self.batch.items() > 0 && !self.batch.has_room_for(&item, form.limits) {
            self.next = Some(item);
            self.closed = true;
            return;
        }
        self.batch.push(item, form.codec);
        self.closed = self.batch.items() as u64 >= self.max;
        if !self.closed && self.timer.is_none() {
            self.timer = Some(Box::pin(sleep(self.wait)));
        }
    }

    /// Returns the list that is complete, and begins the next.
    fn pass<V>(&mut self, form: &ItemForm) -> Flow<V, X> {
        (self.closed, self.timer) = (false, None);
        let list = self.batch.take(form);
        if let Some(next) = self.next.take() {
            self.add(next, form);
        }
        match list {
            Ok(list) => Flow::Item(Piece::Encoded(list)),
            Err(error) => Flow::After(After::Broken(error)),
        }
    }
}
