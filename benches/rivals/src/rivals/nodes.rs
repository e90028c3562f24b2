//! The nodes of a middle that is made here: calls go to each in turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use tokio::sync::watch;

pub struct Nodes<T> {
    known: watch::Sender<Vec<T>>,
    turn: AtomicUsize,
}

impl<T> Default for Nodes<T> {
    fn default() -> Self {
        Self { known: watch::Sender::new(Vec::new()), turn: AtomicUsize::new(0) }
    }
}

impl<T: Clone> Nodes<T> {
    pub fn add(&self, node: T) {
        self.known.send_modify(|known| known.push(node));
    }

    /// Whose turn it is; `None` if there is no node.
    pub fn next_now(&self) -> Option<T> {
        let known = self.known.borrow();
        known.get(self.turn.fetch_add(1, Ordering::Relaxed).checked_rem(known.len())?).cloned()
    }

    /// Waits for the first node.
    pub async fn next(&self) -> Result<T> {
        if let Some(node) = self.next_now() {
            return Ok(node);
        }
        self.known.subscribe().wait_for(|known| !known.is_empty()).await?;
        self.next_now().context("nodes do not leave")
    }
}
