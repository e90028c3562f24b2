//! Packet-loss monitor: decides whether calls should leave a multiplexed stream.

use std::time::{Duration, Instant};

/// Measures the share of packets that a connection loses.
///
/// A lost packet delays every call on the multiplexed stream by a round trip; with a stream per
/// call it delays only one. Separate streams cost about fifteen times as many packets, however, so
/// the multiplexed stream is the better choice up to a loss of a few percent.
#[derive(Debug)]
pub(super) struct LossMonitor {
    since: Instant,
    packets: PacketCounts,
    lossy: bool,
}

/// Packet counters of one connection since its start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacketCounts {
    pub(super) sent: u64,
    pub(super) lost: u64,
}

impl PacketCounts {
    pub(super) fn of(connection: &quinn::Connection) -> Self {
        let path = connection.stats().path;
        Self { sent: path.sent_packets, lost: path.lost_packets }
    }
}

impl LossMonitor {
    /// Time between two reads of the counters.
    pub(super) const INTERVAL: Duration = Duration::from_millis(100);
    /// Packets per sample: with a loss of 1 %, one sample in 100 looks like 2 %.
    const SAMPLE: u64 = 500;
    /// Longest time per sample, however few packets it has, so that a connection recovers within a
    /// second of its last loss.
    const LONGEST_SAMPLE: Duration = Duration::from_secs(1);
    /// Minimum number of lost packets that is significant, however few were sent.
    const MIN_LOST: u64 = 10;
    /// A loss of up to one packet in this many is tolerated.
    const TOLERATED: u64 = 50;

    pub(super) fn new(packets: PacketCounts) -> Self {
        Self { since: Instant::now(), packets, lossy: false }
    }

    /// Evaluates the packets since the last sample if there are enough of them; returns whether the
    /// connection is lossy.
    pub(super) fn examine(&mut self, packets: PacketCounts, now: Instant) -> bool {
        let sent = packets.sent - self.packets.sent;
        let age = now.saturating_duration_since(self.since);
        if sent < Self::SAMPLE && age < Self::LONGEST_SAMPLE {
            return self.lossy;
        }
        let lost = packets.lost - self.packets.lost;
        self.lossy = lost >= Self::MIN_LOST && lost * Self::TOLERATED > sent;
        (self.since, self.packets) = (now, packets);
        self.lossy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates `seconds` of traffic; returns for each check whether the connection was lossy.
    fn looks(monitor: &mut LossMonitor, rate: u64, percent: u64, seconds: u32) -> Vec<bool> {
        let (mut packets, start) = (monitor.packets, monitor.since);
        (1..=seconds * 10)
            .map(|look| {
                packets.sent += rate / 10;
                packets.lost += rate * percent / 1_000;
                monitor.examine(packets, start + LossMonitor::INTERVAL * look)
            })
            .collect()
    }

    #[test]
    fn a_connection_is_lossy_while_it_loses_packets_and_recovers_within_a_second() {
        for rate in [2_000, 20_000] {
            let mut monitor = LossMonitor::new(PacketCounts::default());
            assert!(!looks(&mut monitor, rate, 0, 2).contains(&true), "{rate}");
            assert!(!looks(&mut monitor, rate, 1, 5).contains(&true), "1 % of {rate}");
            assert!(looks(&mut monitor, rate, 5, 2).ends_with(&[true]), "5 % of {rate}");
            let after = looks(&mut monitor, rate, 0, 2);
            assert!(!after[10..].contains(&true), "{rate}: {after:?}");
        }
    }

    #[test]
    fn a_connection_that_sends_nothing_any_more_recovers() {
        let mut monitor = LossMonitor::new(PacketCounts::default());
        assert!(looks(&mut monitor, 20_000, 5, 1).ends_with(&[true]));
        assert!(looks(&mut monitor, 0, 0, 2).ends_with(&[false]));
    }

    #[test]
    fn single_losses_at_a_low_rate_say_nothing() {
        let mut monitor = LossMonitor::new(PacketCounts::default());
        assert!(!looks(&mut monitor, 100, 5, 60).contains(&true));
    }
}
