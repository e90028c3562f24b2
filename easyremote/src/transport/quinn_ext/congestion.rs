//! Congestion control that lets a sign of life, and a goodbye, through.
//!
//! Where a path takes nothing any more, what a connection has under way soon fills its congestion
//! window. QUIC then sends probes at distances that double (RFC 9002, section 6.2), and quinn sends
//! nothing else at all: neither new stream data, as a heartbeat is, nor an acknowledgement beside
//! it, nor CONNECTION_CLOSE. So a path that has been cut for six seconds is found to be whole again
//! only by a probe that may be another six seconds away, and whoever is told to leave is not told.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::VarInt;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Bytes that quinn keeps per connection until they are acknowledged.
pub(crate) const SEND_WINDOW: u64 = 16 << 20;

/// Lets `connection` send once more, at once, whatever its congestion window says: what its peer
/// acknowledges of that tells it what has become of all that went before.
///
/// That is at most one batch of quinn's, ten packets: as many as a new connection may begin with
/// (RFC 9002, section 7.2). To be called no more often than heartbeats go.
pub(crate) fn let_through(connection: &quinn::Connection) {
    if let Ok(lenient) = connection.congestion_state().into_any().downcast::<Lenient>() {
        lenient.once.store(true, Ordering::Relaxed);
        // No news, but the way to have the connection look for what it may send: with all of its
        // send window under way, no stream can be written to, which would do so as well.
        connection.set_send_window(SEND_WINDOW);
    }
}

/// Closes `connection`, and lets the peer know although its congestion window may be full.
///
/// One that has ended stays as it has: to close it again would hide from its streams why it has.
pub(crate) fn close(connection: &quinn::Connection, code: VarInt, reason: &[u8]) {
    if connection.close_reason().is_some() {
        return;
    }
    let_through(connection);
    connection.close(code, reason);
}

/// Makes the controllers of connections: quinn's default, CUBIC (RFC 9438), that can be made to
/// look away for once.
#[derive(Debug, Default)]
pub(crate) struct LenientConfig(Arc<CubicConfig>);

impl ControllerFactory for LenientConfig {
    fn build(self: Arc<Self>, now: Instant, mtu: u16) -> Box<dyn Controller> {
        let inner = self.0.clone().build(now, mtu);
        Box::new(Lenient { inner, once: Arc::default() })
    }
}

struct Lenient {
    inner: Box<dyn Controller>,
    /// Whether the next batch goes out in any case; shared with the copies.
    once: Arc<AtomicBool>,
}

impl Controller for Lenient {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.once.store(false, Ordering::Relaxed);
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    /// No limit for once: quinn does not pace a window beyond 4 GiB either.
    fn window(&self) -> u64 {
        if self.once.load(Ordering::Relaxed) { u64::MAX } else { self.inner.window() }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), once: self.once.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
