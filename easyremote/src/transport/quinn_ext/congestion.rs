//! Congestion control that lets heartbeats and connection closes through.
//!
//! When a path stops delivering packets, the data in flight soon fills the congestion window. QUIC
//! then sends probes at exponentially growing intervals (RFC 9002, section 6.2), and quinn sends
//! nothing else: no new stream data, such as a heartbeat, no acknowledgement next to it, and no
//! CONNECTION_CLOSE. After an outage of six seconds, only a probe would discover that the path
//! works again, up to another six seconds later, and a peer would not be told that its connection
//! has been closed.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use quinn::VarInt;
use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

/// Maximum number of unacknowledged bytes that quinn keeps per connection.
pub(crate) const SEND_WINDOW: u64 = 16 << 20;

/// Lets `connection` send once more at once, regardless of its congestion window. The peer's
/// acknowledgement then reveals what has become of everything sent before.
///
/// This sends at most one batch of quinn's, ten packets: as many as a new connection may start with
/// (RFC 9002, section 7.2). Call this no more often than heartbeats are sent.
pub(crate) fn let_through(connection: &quinn::Connection) {
    if let Ok(lenient) = connection.congestion_state().into_any().downcast::<Lenient>() {
        lenient.once.store(true, Ordering::Relaxed);
        // The value is unchanged; the call makes quinn's driver look for data to send. Writing to a
        // stream would do so too, but is impossible while the whole send window is in flight.
        connection.set_send_window(SEND_WINDOW);
    }
}

/// Closes `connection`, and notifies the peer even if the congestion window is full.
///
/// A connection that has ended is not closed again: that would hide from its streams why it ended.
pub(crate) fn close(connection: &quinn::Connection, code: VarInt, reason: &[u8]) {
    if connection.close_reason().is_some() {
        return;
    }
    let_through(connection);
    connection.close(code, reason);
}

/// Creates congestion controllers: quinn's default, CUBIC (RFC 9438), with an override for one
/// batch.
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
    /// Whether the next batch ignores the window; shared with clones.
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

    /// Unlimited for one batch: quinn does not pace a window beyond 4 GiB either.
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
