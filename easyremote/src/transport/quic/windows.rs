//! How far a sender may be ahead of its reader on one stream.
//!
//! QUIC's own window of a stream is the same for all streams of a connection, and is open in full
//! from the beginning. One that is wide enough for a distant peer, times all streams that nobody
//! reads, would be gigabytes. So QUIC's window is only the limit of what a stream may ever have,
//! and senders keep to a narrower one: [`STREAM_WINDOW`] at first, and more once the reader has
//! shown that it reads fast enough to need it. The reader's side says so on the control stream, and
//! all windows of a connection together grow by no more than [`GROWN_WINDOWS`].
//!
//! A sender that keeps to none of this gains little: the window of the connection limits what the
//! reader's side holds for it, and has room for the narrow windows of the streams that there are,
//! for what these have grown by, and for [`AHEAD`] streams that are about to come. It moves on with
//! them.
//!
//! It becomes no narrower again, so that after many streams a peer may send ahead on few what it
//! might have sent on all of them, up to QUIC's own window of each, which is within what a connection
//! is documented to cost. quinn could make it narrower, but takes the difference from what is read
//! later, and does not say how much of that is still owed. Growing again before it is paid would
//! widen the window by the difference, time after time, for a peer that opens and closes streams and
//! sends nothing on them.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use quinn::VarInt;

use crate::wire::limits::{GROWN_WINDOWS, MAX_STREAM_WINDOW, STREAM_WINDOW};

/// The windows of all streams of one connection, both ways. Streams are named by their QUIC ids.
#[derive(Debug)]
pub(crate) struct StreamWindows {
    connection: quinn::Connection,
    state: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    /// Of streams that this side sends on: what the reader lets it have sent in all.
    limits: HashMap<u64, Limit>,
    /// Of streams that this side reads: news for the sender.
    due: HashMap<u64, u64>,
    /// Tells the control stream of them.
    due_waker: Option<Waker>,
    /// Streams that this side reads.
    reading: u64,
    /// By how much windows of these have grown, in all.
    grown: u64,
    /// The connection's own window; it becomes no narrower.
    window: u64,
}

impl Default for WindowState {
    fn default() -> Self {
        Self {
            limits: HashMap::new(),
            due: HashMap::new(),
            due_waker: None,
            reading: 0,
            grown: 0,
            window: FIRST_WINDOW,
        }
    }
}

/// The window of a connection is moved on for so many streams at a time, of which it has room for
/// so many more than there are: 8 MiB, half of it for a multiplexed stream, which has no credit.
const AHEAD: u64 = 32;

/// The window of a connection whose peer has been let in, at first: 18 MiB.
pub(crate) const FIRST_WINDOW: u64 = connection_window(0, 0);

/// quinn tells its peer of what has been read only when it is an eighth of the whole, so that there
/// has to be a seventh more: else the heartbeat waits where all streams do.
const fn connection_window(reading: u64, grown: u64) -> u64 {
    let room = (reading / AHEAD + 2) * AHEAD * STREAM_WINDOW + grown;
    room + room / 7 + 8
}

#[derive(Debug)]
struct Limit {
    bytes: u64,
    waker: Option<Waker>,
}

impl StreamWindows {
    /// For a connection whose own window is [`FIRST_WINDOW`] when its first stream comes.
    pub(crate) fn new(connection: quinn::Connection) -> Arc<Self> {
        Arc::new(Self { connection, state: Mutex::default() })
    }

    pub(crate) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    fn state(&self) -> MutexGuard<'_, WindowState> {
        self.state.lock()
    }

    /// Notes that the peer lets this side have sent so much on a stream.
    pub(crate) fn granted(&self, stream: u64, bytes: u64) {
        // A stream that is not there has ended, or the peer speaks of what never was.
        if let Some(limit) = self.state().limits.get_mut(&stream) {
            limit.bytes = limit.bytes.max(bytes);
            limit.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    /// What the reader of a stream that this side sends on has allowed in all; `None` if it is not
    /// known yet, or not any more.
    pub(crate) fn allowed(&self, stream: u64) -> Option<u64> {
        self.state().limits.get(&stream).map(|limit| limit.bytes)
    }

    /// Waits for news for the peer: streams, and what may be sent on each in all. Cancel safe.
    pub(crate) async fn due(&self) -> HashMap<u64, u64> {
        poll_fn(|context| {
            let mut state = self.state();
            if state.due.is_empty() {
                state.due_waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut state.due))
        })
        .await
    }

    fn grant(&self, stream: u64, bytes: u64) {
        let mut state = self.state();
        state.due.insert(stream, bytes);
        state.due_waker.take().into_iter().for_each(Waker::wake);
    }

    /// Says whether windows may grow by so much more, and counts it if so.
    fn grow(&self, bytes: u64) -> bool {
        let mut state = self.state();
        let fits = state.grow(bytes);
        self.make_room(&mut state);
        fits
    }

    /// Moves the connection's window on if it has to be wider. quinn's lock is taken under ours
    /// here, and never the other way round.
    fn make_room(&self, state: &mut WindowState) {
        let window = connection_window(state.reading, state.grown);
        if window > state.window {
            state.window = window;
            self.connection.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        }
    }
}

impl WindowState {
    /// Says whether windows may grow by so much more, and counts it if so.
    fn grow(&mut self, bytes: u64) -> bool {
        let fits = self.grown + bytes <= GROWN_WINDOWS;
        self.grown += if fits { bytes } else { 0 };
        fits
    }
}

/// What a sender may send on one stream.
#[derive(Debug)]
pub(crate) struct SendWindow {
    windows: Arc<StreamWindows>,
    stream: u64,
    sent: u64,
    limit: u64,
    /// Whether the limit is among those that the peer can raise.
    registered: bool,
}

/// The shortest round trip that counts as a distance. The first window in that time is half a
/// gigabyte a second, which is about what a role's thread can do.
const NEAR: Duration = Duration::from_micros(500);

/// A sender listens for its limit once it has sent so much; a reader first raises it when twice as
/// much has been read. Streams that stay shorter cost nothing.
const REGISTER_AT: u64 = STREAM_WINDOW / 8;

impl SendWindow {
    pub(crate) fn new(windows: &Arc<StreamWindows>, stream: quinn::StreamId) -> Self {
        let (stream, limit) = (VarInt::from(stream).into_inner(), STREAM_WINDOW);
        Self { windows: windows.clone(), stream, sent: 0, limit, registered: false }
    }

    /// How much of `wanted` may be sent now, which then counts as sent; `None` if nothing may.
    pub(crate) fn take(&mut self, wanted: usize) -> Option<usize> {
        let wanted = wanted as u64;
        if !self.registered && self.sent + wanted > REGISTER_AT {
            self.registered = true;
            let limit = Limit { bytes: self.limit, waker: None };
            self.windows.state().limits.insert(self.stream, limit);
        }
        if self.sent + wanted > self.limit {
            let state = self.windows.state();
            self.limit = state.limits.get(&self.stream).map_or(self.limit, |limit| limit.bytes);
        }
        let n = wanted.min(self.limit - self.sent);
        self.sent += n;
        // No more than `wanted`, which was a `usize`.
        (n > 0 || wanted == 0).then_some(n as usize)
    }

    /// Waits until something may be sent. Cancel safe.
    pub(crate) async fn raised(&self) {
        poll_fn(|context| match self.windows.state().limits.get_mut(&self.stream) {
            Some(limit) if limit.bytes <= self.sent => {
                limit.waker = Some(context.waker().clone());
                Poll::Pending
            }
            // It is there for as long as this is.
            _ => Poll::Ready(()),
        })
        .await;
    }
}

impl Drop for SendWindow {
    fn drop(&mut self) {
        if self.registered {
            self.windows.state().limits.remove(&self.stream);
        }
    }
}

/// What the reader of one stream allows.
#[derive(Debug)]
pub(crate) struct ReceiveWindow {
    windows: Arc<StreamWindows>,
    stream: u64,
    window: Window,
}

impl ReceiveWindow {
    pub(crate) fn new(windows: &Arc<StreamWindows>, stream: quinn::StreamId) -> Self {
        let (stream, window) = (VarInt::from(stream).into_inner(), Window::new(Instant::now()));
        let mut state = windows.state();
        state.reading += 1;
        windows.make_room(&mut state);
        drop(state);
        Self { windows: windows.clone(), stream, window }
    }

    /// Notes that so many bytes have been read.
    pub(crate) fn read(&mut self, bytes: usize) {
        let windows = &self.windows;
        // Not the present one: a busy computer is not a distant one.
        let rtt = || windows.connection.stats().path.min_rtt;
        if let Some(limit) = self.window.read(bytes as u64, rtt, |more| windows.grow(more)) {
            windows.grant(self.stream, limit);
        }
    }
}

impl Drop for ReceiveWindow {
    fn drop(&mut self) {
        let mut state = self.windows.state();
        state.reading -= 1;
        // One that has stayed short has neither.
        if self.window.limit > STREAM_WINDOW {
            state.grown -= self.window.size - STREAM_WINDOW;
            state.due.remove(&self.stream);
        }
    }
}

/// The arithmetic of a reader's window.
#[derive(Debug)]
struct Window {
    size: u64,
    read: u64,
    /// What the sender may send in all.
    limit: u64,
    raised: Instant,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { size: STREAM_WINDOW, read: 0, limit: STREAM_WINDOW, raised: now }
    }

    /// Notes that `bytes` have been read. Gives the sender's new limit once a quarter of the window
    /// is free, so that the news arrives before the rest is used up.
    ///
    /// A quarter that took less than half a round trip is a sign that the sender waits for the
    /// window: at this pace more than half of it is read in a round trip. It then doubles, if
    /// `grow` allows that. A reader that keeps up has at most four times what is on its way. One
    /// that is [`NEAR`] needs no more than it has.
    fn read(
        &mut self,
        bytes: u64,
        rtt: impl FnOnce() -> Duration,
        grow: impl FnOnce(u64) -> bool,
    ) -> Option<u64> {
        self.read += bytes;
        // A sender that does not keep to the limit is not helped to go on.
        let ahead = self.limit.saturating_sub(self.read);
        if ahead > self.size - self.size / 4 {
            return None;
        }
        let now = Instant::now();
        let more = self.size.min(MAX_STREAM_WINDOW - self.size);
        if more > 0 {
            let rtt = rtt();
            if rtt > NEAR && now - self.raised < rtt / 2 && grow(more) {
                self.size += more;
            }
        }
        self.raised = now;
        self.limit = self.read + self.size;
        Some(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: Duration = Duration::from_secs(3_600);

    fn window() -> Window {
        Window::new(Instant::now())
    }

    #[test]
    fn a_window_moves_on_with_its_reader() {
        let mut window = window();
        assert_eq!(window.read(STREAM_WINDOW / 8, || FAR, |_| false), None);
        let limit = window.read(STREAM_WINDOW / 8, || FAR, |_| false);
        assert_eq!(limit, Some(STREAM_WINDOW + STREAM_WINDOW / 4));
    }

    #[test]
    fn a_window_grows_while_it_is_used_up_within_a_round_trip() {
        let (mut window, mut grown) = (window(), 0);
        for _ in 0..100 {
            let quarter = window.size / 4;
            window.read(
                quarter,
                || FAR,
                |more| {
                    grown += more;
                    true
                },
            );
        }
        assert_eq!(window.size, MAX_STREAM_WINDOW);
        assert_eq!(grown, MAX_STREAM_WINDOW - STREAM_WINDOW);
        assert_eq!(window.limit, window.read + window.size);
    }

    #[test]
    fn a_window_stays_where_its_reader_is_near_or_the_budget_spent() {
        let mut near = window();
        let mut spent = window();
        for _ in 0..100 {
            near.read(STREAM_WINDOW / 4, || NEAR, |_| true);
            spent.read(STREAM_WINDOW / 4, || FAR, |_| false);
        }
        assert_eq!((near.size, spent.size), (STREAM_WINDOW, STREAM_WINDOW));
    }

    #[test]
    fn the_windows_of_a_connection_grow_by_so_much_in_all() {
        let mut state = WindowState::default();
        let mut windows: Vec<_> = (0..1_000).map(|_| window()).collect();
        for _ in 0..10 {
            for window in &mut windows {
                let quarter = window.size / 4;
                window.read(quarter, || FAR, |more| state.grow(more));
            }
        }
        let grown: u64 = windows.iter().map(|window| window.size - STREAM_WINDOW).sum();
        assert_eq!((grown, state.grown), (GROWN_WINDOWS, GROWN_WINDOWS));
    }

    #[test]
    fn a_connection_has_room_for_all_its_windows_and_little_more() {
        for reading in 0..10_000 {
            for grown in [0, GROWN_WINDOWS] {
                // An eighth may be free without the peer's knowing.
                let window = connection_window(reading, grown);
                let room = window - window.div_ceil(8);
                let windows = reading * STREAM_WINDOW + grown;
                assert!(room >= windows + AHEAD * STREAM_WINDOW, "{reading}");
                assert!(room <= windows + 2 * AHEAD * STREAM_WINDOW + 8, "{reading}");
            }
        }
        const { assert!(AHEAD * STREAM_WINDOW >= 2 * MAX_STREAM_WINDOW) };
    }

    #[test]
    fn reading_more_than_was_allowed_overflows_nothing() {
        let mut window = window();
        let limit = window.read(10 * STREAM_WINDOW, || FAR, |_| false);
        assert_eq!(limit, Some(11 * STREAM_WINDOW));
    }
}
