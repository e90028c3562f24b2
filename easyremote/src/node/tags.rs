//! The node's tags, which change, and which of them its gateways know.

use tokio::sync::watch;

use crate::error::printable::is_printable;
use crate::error::{Error, ErrorKind};
use crate::wire::control::Retag;
use crate::wire::limits::{MAX_LIST, MAX_NAME};

/// The tags of a node.
#[derive(Debug)]
pub(super) struct Tags {
    now: watch::Sender<Retag>,
    /// The number of those that each gateway has; `None` while the node is not registered there.
    known: watch::Sender<Vec<Option<u64>>>,
}

/// What one gateway knows of them, from before a registration there to its end.
#[derive(Debug)]
pub(super) struct TagSync<'a> {
    tags: &'a Tags,
    gateway: usize,
    changes: watch::Receiver<Retag>,
    /// The number of those that were sent last.
    sent: u64,
    /// The number of those that the gateway has.
    has: u64,
}

impl Tags {
    /// Those of a node with so many gateways.
    pub(super) fn new(tags: Vec<String>, n_gateways: usize) -> Self {
        Self {
            now: watch::Sender::new(Retag { number: 0, tags }),
            known: watch::Sender::new(vec![None; n_gateways]),
        }
    }

    pub(super) fn now(&self) -> Vec<String> {
        self.now.borrow().tags.clone()
    }

    /// Those of now and of later.
    pub(super) fn subscribe(&self) -> watch::Receiver<Retag> {
        self.now.subscribe()
    }

    /// Sets other ones, and waits until they, or later ones, hold at every gateway at which the
    /// node is registered. Once polled, they are set.
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

    /// For a gateway that is about to learn those of now, or later ones, by a registration.
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

    /// What to tell the gateway next: the tags of then. Cancel safe.
    ///
    /// One at a time, so that a gateway that is slow to read holds up no more than one.
    pub(super) async fn changed(&mut self) -> Retag {
        if self.sent > self.has || self.changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        let retag = self.changes.borrow_and_update().clone();
        self.sent = retag.number;
        retag
    }

    /// Notes that the gateway has the tags of this number.
    pub(super) fn are(&mut self, number: u64) {
        // Whatever it says: it cannot have what it was not told.
        self.has = number.min(self.sent);
        self.tags.known.send_modify(|known| known[self.gateway] = Some(self.has));
    }
}

impl Drop for TagSync<'_> {
    fn drop(&mut self) {
        self.tags.known.send_modify(|known| known[self.gateway] = None);
    }
}

/// Whether a node may have these.
///
/// # Errors
/// `InvalidInput` if not.
pub(super) fn check(tags: &[String]) -> Result<(), Error> {
    let is_fine = |tag: &String| (1..=MAX_NAME).contains(&tag.len()) && is_printable(tag);
    if tags.len() > MAX_LIST || !tags.iter().all(is_fine) {
        let text = format!(
            "a node has at most {MAX_LIST} tags of 1 to {MAX_NAME} bytes, without control \
             characters and invisible ones"
        );
        return Err(Error::new(ErrorKind::InvalidInput, text));
    }
    Ok(())
}
