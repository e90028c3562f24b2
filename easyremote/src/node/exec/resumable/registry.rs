//! The resumable streams of a node, which their callers find again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::node::exec::resumable::leg::NewLeg;
use crate::wire::caller::KnownCaller;
use crate::wire::control::Role;
use crate::wire::header::{CallHeader, CallId};
use crate::wire::resume::ResumeSecret;

/// The resumable streams that a node runs or keeps.
#[derive(Debug, Default)]
pub(in crate::node) struct ResumableStreams {
    streams: Mutex<HashMap<StreamKey, ListedStream>>,
    numbers: AtomicU64,
    /// Notified when one has ended, or has been read.
    empty: Notify,
}

/// What a caller must know and be to find its stream. The id of a client is not part of it, nor is
/// its address: it may come back over another connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct StreamKey {
    call: CallId,
    role: Role,
    identity: String,
}

impl StreamKey {
    fn new(header: &CallHeader, caller: &KnownCaller) -> Self {
        Self { call: header.id, role: caller.role, identity: caller.identity.clone() }
    }
}

#[derive(Debug)]
struct ListedStream {
    /// Unique in this process: a later stream of the same call replaces this one.
    number: u64,
    secret: ResumeSecret,
    legs: mpsc::Sender<NewLeg>,
    /// Whether its reader has everything, as far as can be known.
    read: bool,
}

/// Keeps a stream listed until it is dropped.
#[derive(Debug)]
pub(super) struct StreamListing {
    streams: Arc<ResumableStreams>,
    key: StreamKey,
    number: u64,
}

impl ResumableStreams {
    /// Lists the stream of a call that starts. Returns the end at which its further legs arrive. A
    /// stream of the same call that was listed before cannot be found any more.
    pub(super) fn list(
        self: &Arc<Self>,
        header: &CallHeader,
        caller: &KnownCaller,
        secret: &ResumeSecret,
    ) -> (StreamListing, mpsc::Receiver<NewLeg>) {
        // One leg at a time: a caller that does not wait for an answer is refused.
        let (legs, arriving) = mpsc::channel(1);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let key = StreamKey::new(header, caller);
        let listed = ListedStream { number, secret: secret.clone(), legs, read: false };
        let replaced = self.streams.lock().insert(key.clone(), listed);
        drop(replaced);
        (StreamListing { streams: self.clone(), key, number }, arriving)
    }

    /// Returns where a call that continues a stream finds it. `None` if there is no such stream of
    /// its caller, or if the secret is wrong: the caller cannot tell which.
    pub(super) fn find(
        &self,
        header: &CallHeader,
        caller: &KnownCaller,
    ) -> Option<mpsc::Sender<NewLeg>> {
        let request = header.resume.as_ref()?;
        let streams = self.streams.lock();
        let listed = streams.get(&StreamKey::new(header, caller))?;
        (listed.secret == request.secret).then(|| listed.legs.clone())
    }

    /// Waits until there is none whose reader has to come back. Cancel safe.
    pub(in crate::node) async fn empty(&self) {
        loop {
            // Created before the check, so that no notification is missed.
            let empty = self.empty.notified();
            if self.is_read() {
                return;
            }
            empty.await;
        }
    }

    fn is_read(&self) -> bool {
        self.streams.lock().values().all(|listed| listed.read)
    }
}

impl StreamListing {
    /// Notes that the reader has everything, as far as can be known. It finds the stream nevertheless,
    /// but the node need not wait for it.
    pub(super) fn note_read(&self) {
        let mut streams = self.streams.streams.lock();
        if let Some(listed) = streams.get_mut(&self.key)
            && listed.number == self.number
        {
            listed.read = true;
        }
        drop(streams);
        self.streams.empty.notify_waiters();
    }
}

impl Drop for StreamListing {
    fn drop(&mut self) {
        let mut streams = self.streams.streams.lock();
        if streams.get(&self.key).is_some_and(|listed| listed.number == self.number) {
            streams.remove(&self.key);
        }
        drop(streams);
        self.streams.empty.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::wire::caller::Caller;
    use crate::wire::codec::Codec;
    use crate::wire::kind::Kind;
    use crate::wire::resume::{ResumeRequest, ResumeStep};

    fn header(call: u8, secret: u8) -> CallHeader {
        let secret = ResumeSecret([secret; 16]);
        let (step, ring) = (ResumeStep::Continue, false);
        let request = ResumeRequest { secret, step, ring, taken: 0, done: 0 };
        let mut header = CallHeader::new([call; 16], "f", Kind::Stream, Codec::Bincode);
        header.resume = Some(Box::new(request));
        header
    }

    fn caller(role: Role, id: &str, identity: &str) -> KnownCaller {
        let address = "[::1]:1".parse().unwrap();
        KnownCaller::new(Caller { role, id: id.into(), identity: identity.into(), address })
    }

    #[test]
    fn only_its_caller_with_its_secret_finds_a_stream() {
        let streams = Arc::<ResumableStreams>::default();
        let client = caller(Role::Client, "client-1", "ci");
        let (listing, _arriving) = streams.list(&header(7, 9), &client, &ResumeSecret([9; 16]));
        let finds = |header, caller| streams.find(&header, &caller).is_some();
        assert!(finds(header(7, 9), client.clone()));
        assert!(finds(header(7, 9), caller(Role::Client, "client-2", "ci")), "a new connection");
        for (header, caller) in [
            (header(7, 8), client.clone()),
            (header(6, 9), client.clone()),
            (header(7, 9), caller(Role::Client, "client-1", "other")),
            (header(7, 9), caller(Role::Node, "client-1", "ci")),
        ] {
            assert!(!finds(header, caller));
        }
        assert!(streams.empty().now_or_never().is_none());
        listing.note_read();
        assert!(streams.empty().now_or_never().is_some());
        assert!(finds(header(7, 9), client.clone()), "its reader may come back");
        drop(listing);
        assert!(!finds(header(7, 9), client));
        assert!(streams.empty().now_or_never().is_some());
    }

    #[test]
    fn a_later_stream_of_the_same_call_takes_the_place() {
        let streams = Arc::<ResumableStreams>::default();
        let client = caller(Role::Client, "client-1", "ci");
        let list = |secret| streams.list(&header(7, secret), &client, &ResumeSecret([secret; 16]));
        let (first, mut arriving) = list(1);
        let (_second, _legs) = list(2);
        assert!(arriving.recv().now_or_never().is_some_and(|leg| leg.is_none()));
        drop(first);
        assert!(streams.find(&header(7, 2), &client).is_some());
        assert!(streams.find(&header(7, 1), &client).is_none());
    }
}
