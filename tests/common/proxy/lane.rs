//! One direction of a proxy: what becomes of each datagram.

use std::collections::VecDeque;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// What happens to datagrams that go one way. By default nothing, but for what is too long for an
/// Ethernet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Faults {
    /// None gets through.
    pub blocked: bool,
    /// The share that is lost, each for itself; 0.2 is a fifth.
    pub loss: f64,
    /// The share with which a burst of losses begins.
    pub burst: f64,
    /// How many datagrams a burst takes.
    pub burst_length: u32,
    /// Longest datagram that gets through, in bytes.
    pub mtu: Option<usize>,
    /// How long each is on its way.
    pub delay: Duration,
    /// Up to so much longer, drawn for each, so that they overtake each other.
    pub jitter: Duration,
    /// The share that is held back by [`HELD_BACK`], so that later ones overtake it.
    pub reorder: f64,
    /// The share that comes twice.
    pub duplicate: f64,
    /// The share in which a bit is flipped.
    pub corrupt: f64,
    /// Bytes a second that get through; what would wait longer than [`LONGEST_WAIT`] is lost.
    pub rate: Option<u64>,
}

/// The UDP payload of 1,500 bytes: what a proxy stands for is a network, although it is on loopback.
pub const ETHERNET: usize = 1_472;

impl Default for Faults {
    fn default() -> Self {
        Self {
            blocked: false,
            loss: 0.0,
            burst: 0.0,
            burst_length: 0,
            mtu: Some(ETHERNET),
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            reorder: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            rate: None,
        }
    }
}

/// How long a datagram is held back so that others overtake it.
pub const HELD_BACK: Duration = Duration::from_millis(10);

/// How much a slow link buffers.
pub const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// What has become of the datagrams that went one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Let through, copies not counted.
    pub passed: u64,
    pub blocked: u64,
    /// Lost by `loss`, `burst` or `rate`.
    pub lost: u64,
    /// Longer than the `mtu`.
    pub too_long: u64,
    /// Bytes of the longest that was let through.
    pub longest: usize,
    /// Let through, but late by `delay` or `jitter`.
    pub delayed: u64,
    /// Let through, but behind others that a link with a `rate` was still sending.
    pub queued: u64,
    pub reordered: u64,
    pub duplicated: u64,
    pub corrupted: u64,
    /// Most bytes that were on their way at a time, copies not counted.
    pub most_held: u64,
}

/// Decides what becomes of the datagrams of one direction; a seed repeats it.
#[derive(Debug)]
pub struct Lane {
    rng: Rng,
    pub faults: Faults,
    /// When the faults end by themselves.
    pub until: Option<Instant>,
    pub counts: Counts,
    /// Datagrams that the present burst still takes.
    burst: u32,
    /// When a link with a `rate` has sent all that it has.
    free: Option<Instant>,
    /// What is on its way, in the order in which it came: when it gets out, and its length.
    held: VecDeque<(Instant, u64)>,
    held_bytes: u64,
}

/// A datagram, and when it gets out of the proxy.
pub type Due = (Instant, Vec<u8>);

impl Lane {
    pub fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            faults: Faults::default(),
            until: None,
            counts: Counts::default(),
            burst: 0,
            free: None,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// What comes out for a datagram that comes in at `now`: nothing, it, or it and a copy.
    pub fn pass(&mut self, now: Instant, datagram: &[u8]) -> (Option<Due>, Option<Due>) {
        if self.until.is_some_and(|until| now >= until) {
            (self.faults, self.until) = (Faults::default(), None);
        }
        let faults = self.faults;
        if faults.blocked {
            self.counts.blocked += 1;
            return (None, None);
        }
        if faults.mtu.is_some_and(|mtu| datagram.len() > mtu) {
            self.counts.too_long += 1;
            return (None, None);
        }
        let Some(sent) = self.sent(now, datagram.len()).filter(|_| !self.is_lost()) else {
            self.counts.lost += 1;
            return (None, None);
        };
        self.counts.passed += 1;
        self.counts.longest = self.counts.longest.max(datagram.len());
        let mut datagram = datagram.to_vec();
        if self.happens(faults.corrupt) && !datagram.is_empty() {
            self.counts.corrupted += 1;
            let i = self.rng.usize(..datagram.len());
            datagram[i] ^= 1 << self.rng.u32(..8);
        }
        let copy = self.happens(faults.duplicate).then(|| {
            self.counts.duplicated += 1;
            (sent + self.travel(), datagram.clone())
        });
        let due = sent + self.travel();
        self.hold(now, due, datagram.len() as u64);
        (Some((due, datagram)), copy)
    }

    fn hold(&mut self, now: Instant, due: Instant, length: u64) {
        while let Some((_, length)) = self.held.front().filter(|(due, _)| *due <= now) {
            self.held_bytes -= length;
            self.held.pop_front();
        }
        self.held.push_back((due, length));
        self.held_bytes += length;
        self.counts.most_held = self.counts.most_held.max(self.held_bytes);
    }

    /// When a datagram has left a link with a rate; `None` if its buffer is full.
    fn sent(&mut self, now: Instant, length: usize) -> Option<Instant> {
        let Some(rate) = self.faults.rate else { return Some(now) };
        let begins = self.free.map_or(now, |free| free.max(now));
        let takes = Duration::from_secs_f64(length as f64 / rate as f64);
        (begins - now <= LONGEST_WAIT).then(|| {
            self.counts.queued += u64::from(begins > now);
            self.free = Some(begins + takes);
            begins + takes
        })
    }

    fn is_lost(&mut self) -> bool {
        if self.burst == 0 && self.happens(self.faults.burst) {
            self.burst = self.faults.burst_length;
        }
        if self.burst > 0 {
            self.burst -= 1;
            return true;
        }
        self.happens(self.faults.loss)
    }

    /// How long a datagram is on its way.
    fn travel(&mut self) -> Duration {
        let mut travel = self.faults.delay + self.faults.jitter.mul_f64(self.rng.f64());
        self.counts.delayed += u64::from(!travel.is_zero());
        if self.happens(self.faults.reorder) {
            self.counts.reordered += 1;
            travel += HELD_BACK;
        }
        travel
    }

    /// Whether something happens this time that happens to this share.
    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }
}
