//! Flow-control windows: how far a sender may be ahead of its reader on one stream.
//!
//! QUIC's window is the same for all streams of a connection, and fully open from the beginning. If
//! it is wide enough for a distant peer, the streams that are not read could hold gigabytes. Here,
//! QUIC's window is only the maximum, and senders keep to a narrower window: [`STREAM_WINDOW`] at
//! first, and more once the reader has shown that it reads fast enough to need it. The reader
//! announces this on the control stream, and all windows of a connection together grow by at most
//! [`GROWN_WINDOWS`].
//!
//! A sender that ignores this gains little. The connection's window limits what the reader's side
//! holds for it: the narrow windows of the open streams, their growth, and [`AHEAD`] streams that
//! are about to be opened. It is advanced as streams are opened and windows grow.
//!
//! The connection's window never shrinks. After many streams, a peer may therefore send on few
//! streams what it could have sent on all of them, up to QUIC's window of each, which is within the
//! documented memory per connection. quinn can shrink the window, but subtracts the difference from
//! later reads without reporting how much is still outstanding. Growing it before that is settled
//! would widen the window by the difference each time a peer opens and closes streams without
//! sending on them.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use quinn::VarInt;

use crate::wire::limits::{GROWN_WINDOWS, MAX_STREAM_WINDOW, STREAM_WINDOW};

/// The windows of all streams of one connection, in both directions, by QUIC stream id.
#[derive(Debug)]
pub(crate) struct StreamWindows {
    connection: quinn::Connection,
    state: Mutex<WindowState>,
}

#[derive(Debug)]
struct WindowState {
    /// Streams that this side sends on: how many bytes the reader has allowed in total.
    limits: HashMap<u64, Limit>,
    /// Streams that this side reads: new limits to announce to the sender.
    due: HashMap<u64, u64>,
    /// Wakes the control stream when `due` has entries.
    due_waker: Option<Waker>,
    /// Number of streams that this side reads.
    reading: u64,
    /// Sum of the growth of their windows.
    grown: u64,
    /// The connection's window, which never shrinks.
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

/// The connection's window is advanced for this many streams at a time, and has space for as many
/// more than are open: 8 MiB, half of it for a multiplexed stream, which has no window here.
const AHEAD: u64 = 32;

/// Initial window of a connection whose peer has been admitted: 18 MiB.
pub(crate) const FIRST_WINDOW: u64 = connection_window(0, 0);

/// quinn announces what has been read only once it exceeds an eighth of the window, so the window
/// has to be a seventh larger: otherwise the heartbeat would be blocked whenever all streams are.
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
    /// Creates the windows of a connection whose own window is [`FIRST_WINDOW`] when its first
    /// stream is opened.
    pub(crate) fn new(connection: quinn::Connection) -> Arc<Self> {
        Arc::new(Self { connection, state: Mutex::default() })
    }

    pub(crate) fn connection(&self) -> &quinn::Connection {
        &self.connection
    }

    fn state(&self) -> MutexGuard<'_, WindowState> {
        self.state.lock()
    }

    /// Records that the peer allows `bytes` in total on a stream.
    pub(crate) fn granted(&self, stream: u64, bytes: u64) {
        // An unknown stream has ended, or never existed.
        if let Some(limit) = self.state().limits.get_mut(&stream) {
            limit.bytes = limit.bytes.max(bytes);
            limit.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    /// Returns how many bytes the reader of a stream has allowed in total; `None` if the stream is
    /// not registered yet, or has ended.
    pub(crate) fn allowed(&self, stream: u64) -> Option<u64> {
        self.state().limits.get(&stream).map(|limit| limit.bytes)
    }

    /// Waits for new limits to announce: streams, and the number of bytes allowed on each in total.
    /// Cancel safe.
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

    /// Counts `bytes` of growth if the windows may grow by so much; returns whether they may.
    fn grow(&self, bytes: u64) -> bool {
        let mut state = self.state();
        let fits = state.grow(bytes);
        self.make_room(&mut state);
        fits
    }

    /// Advances the connection's window if it has to be wider. Lock order: ours, then quinn's,
    /// never the reverse.
    fn make_room(&self, state: &mut WindowState) {
        let window = connection_window(state.reading, state.grown);
        if window > state.window {
            state.window = window;
            self.connection.set_receive_window(VarInt::from_u64(window).unwrap_or(VarInt::MAX));
        }
    }
}

impl WindowState {
    /// Counts `bytes` of growth if the windows may grow by so much; returns whether they may.
    fn grow(&mut self, bytes: u64) -> bool {
        let fits = self.grown + bytes <= GROWN_WINDOWS;
        self.grown += if fits { bytes } else { 0 };
        fits
    }
}

/// The sender's window of one stream.
#[derive(Debug)]
pub(crate) struct SendWindow {
    windows: Arc<StreamWindows>,
    stream: u64,
    sent: u64,
    limit: u64,
    /// Whether the limit is registered, so that the peer can raise it.
    registered: bool,
}

/// Round trips up to this time do not widen windows: the initial window per 500 us is half a
/// gigabyte per second, about what the thread of a role can process.
const NEAR: Duration = Duration::from_micros(500);

/// A sender registers its limit after this many bytes; a reader raises it after at least twice as
/// many. Shorter streams cost nothing.
const REGISTER_AT: u64 = STREAM_WINDOW / 8;

impl SendWindow {
    pub(crate) fn new(windows: &Arc<StreamWindows>, stream: quinn::StreamId) -> Self {
        let (stream, limit) = (VarInt::from(stream).into_inner(), STREAM_WINDOW);
        Self { windows: windows.clone(), stream, sent: 0, limit, registered: false }
    }

    /// Takes up to `wanted` bytes of the window and counts them as sent; `None` if the window is
    /// full.
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

    /// Waits until the window is open. Cancel safe.
    pub(crate) async fn raised(&self) {
        poll_fn(|context| match self.windows.state().limits.get_mut(&self.stream) {
            Some(limit) if limit.bytes <= self.sent => {
                limit.waker = Some(context.waker().clone());
                Poll::Pending
            }
            // The entry exists until this is dropped.
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

/// The reader's window of one stream.
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

    /// Records that `bytes` have been read.
    pub(crate) fn read(&mut self, bytes: usize) {
        let windows = &self.windows;
        // The minimum and not the current value: an overloaded machine is not a distant one.
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
        // A window that has never been raised is in neither.
        if self.window.limit > STREAM_WINDOW {
            state.grown -= self.window.size - STREAM_WINDOW;
            state.due.remove(&self.stream);
        }
    }
}

/// The state of a reader's window.
#[derive(Debug)]
struct Window {
    size: u64,
    read: u64,
    /// How many bytes the sender may send in total.
    limit: u64,
    raised: Instant,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { size: STREAM_WINDOW, read: 0, limit: STREAM_WINDOW, raised: now }
    }

    /// Records that `bytes` have been read. Returns the sender's new limit once a quarter of the
    /// window is free, so that it arrives before the rest is used up.
    ///
    /// If that quarter took less than half a round trip, the sender is limited by the window: at
    /// this rate more than half of the window is read per round trip. The window then doubles, if
    /// `grow` allows it. For a reader that keeps up, the window is thus at most four times the data
    /// in flight. A peer within [`NEAR`] needs no larger window.
    fn read(
        &mut self,
        bytes: u64,
        rtt: impl FnOnce() -> Duration,
        grow: impl FnOnce(u64) -> bool,
    ) -> Option<u64> {
        self.read += bytes;
        // A sender that exceeds the limit gets no credit for it.
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
                // Up to an eighth may be free without having been announced.
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
