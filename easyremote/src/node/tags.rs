//! The node's tags, and how each gateway is kept in sync with them.

use tokio::sync::watch;

use crate::error::printable::is_printable;
use crate::error::{Error, ErrorKind};
use crate::wire::control::Retag;
use crate::wire::limits::{MAX_LIST, MAX_NAME};

/// The tags of a node.
#[derive(Debug)]
pub(super) struct Tags {
    now: watch::Sender<Retag>,
    /// The version that each gateway has confirmed; `None` while the node is not registered there.
    known: watch::Sender<Vec<Option<u64>>>,
}

/// Synchronizes one gateway with the tags, from before a registration there to its end.
#[derive(Debug)]
pub(super) struct TagSync<'a> {
    tags: &'a Tags,
    gateway: usize,
    changes: watch::Receiver<Retag>,
    /// The version that was sent last.
    sent: u64,
    /// The version that the gateway has.
    has: u64,
}

impl Tags {
    /// The tags of a node with `n_gateways` gateways.
    pub(super) fn new(tags: Vec<String>, n_gateways: usize) -> Self {
        Self {
            now: watch::Sender::new(Retag { number: 0, tags }),
            known: watch::Sender::new(vec![None; n_gateways]),
        }
    }

    pub(super) fn now(&self) -> Vec<String> {
        self.now.borrow().tags.clone()
    }

    /// Watches the current tags and every change.
    pub(super) fn subscribe(&self) -> watch::Receiver<Retag> {
        self.now.subscribe()
    }

    /// Replaces the tags, and waits until every gateway that the node is registered at has
    /// confirmed them, or later ones. The first poll sets them.
    pub(super) async fn set(&self, tags: Vec<String>) {
        let mut number = 0;
        self.now.send_modify(|now| {
            number = now.number + 1;
            *now = Retag { number, tags };
        });
        let hold = |known: &Vec<Option<u64>>| known.iter().flatten().all(|has| *has >= number);
        // The sender is here.
        let _ = self.known.subscribe().wait_for(hold).await;
    }

    /// Starts the synchronization of a gateway that is about to learn the tags by a registration.
    ///
    /// Called before the registration is sent: that may carry later tags than the version noted
    /// here, never earlier ones, and a change in between is sent once more.
    pub(super) fn before_registration(&self, gateway: usize) -> TagSync<'_> {
        let mut changes = self.now.subscribe();
        let has = changes.borrow_and_update().number;
        TagSync { tags: self, gateway, changes, sent: has, has }
    }
}

impl TagSync<'_> {
    /// Notes that the node is registered.
    pub(super) fn registered(&mut self) {
        self.are(self.has);
    }

    /// Waits for a change, and returns the current tags to send to the gateway. Cancel safe.
    ///
    /// One version is unconfirmed at a time, so changes do not queue up for a gateway that is slow
    /// to read.
    pub(super) async fn changed(&mut self) -> Retag {
        if self.sent > self.has || self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let retag = self.changes.borrow_and_update().clone();
        self.sent = retag.number;
        retag
    }

    /// Notes that the gateway has confirmed the version `number`.
    pub(super) fn are(&mut self, number: u64) {
        // Never trust the number: the gateway cannot have a version that was not sent.
        self.has = number.min(self.sent);
        self.tags.known.send_modify(|known| known[self.gateway] = Some(self.has));
    }
}

impl Drop for TagSync<'_> {
    fn drop(&mut self) {
        self.tags.known.send_modify(|known| known[self.gateway] = None);
    }
}

/// Checks that a node may have these tags.
///
/// # Errors
/// `InvalidInput` if there are too many, or if one is empty, too long or not printable.
pub(super) fn check(tags: &[String]) -> Result<(), Error> {
    let is_fine = |tag: &String| (1..=MAX_NAME).contains(&tag.len()) && is_printable(tag);
    if tags.len() > MAX_LIST || !tags.iter().all(is_fine) {
        let text = format!(
            "a node has at most {MAX_LIST} tags of 1 to {MAX_NAME} bytes, without control and \
             invisible characters"
        );
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}
