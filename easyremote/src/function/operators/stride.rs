//! Which items pass by their number.

/// `skip` or `every` at work, at the node or at the client.
#[derive(Debug)]
pub(crate) struct Stride {
    step: u64,
    /// Items that are left out before the next one passes.
    until: u64,
}

impl Stride {
    /// Leaves out the first `items`.
    pub(crate) fn skip(items: u64) -> Self {
        Self { step: 1, until: items }
    }

    /// Passes the first item, and every `step`-th behind it. `step` is at least 1.
    pub(crate) fn every(step: u64) -> Self {
        Self { step, until: 0 }
    }

    /// Notes an item, and returns whether it passes.
    pub(crate) fn passes(&mut self) -> bool {
        let passes = self.until == 0;
        self.until = if passes { self.step - 1 } else { self.until - 1 };
        passes
    }
}
