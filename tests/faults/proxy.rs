//! The proxy with which other tests make networks bad: that it does what it says.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use common::proxy::lane::{HELD_BACK, LONGEST_WAIT, Lane};
use common::proxy::{Faults, Proxy, Way};
use tokio::time::Instant;

const DATAGRAMS: usize = 10_000;

/// What comes out for many numbered datagrams that come in at once: number and delay of each.
fn run(seed: u64, faults: Faults) -> (Lane, Vec<(u32, Duration)>) {
    let (mut lane, now) = (Lane::new(seed), Instant::now());
    lane.faults = faults;
    let mut out = Vec::new();
    for n in 0..DATAGRAMS as u32 {
        let (first, copy) = lane.pass(now, &n.to_be_bytes());
        for (due, datagram) in first.into_iter().chain(copy) {
            out.push((u32::from_be_bytes(datagram.try_into().unwrap()), due - now));
        }
    }
    (lane, out)
}

/// Whether `n` is that share of all, give or take a tenth of it.
fn is_share(n: impl TryInto<usize>, share: f64) -> bool {
    let (n, expected) = (n.try_into().ok().unwrap() as f64, DATAGRAMS as f64 * share);
    (n - expected).abs() < expected * 0.1
}

#[test]
fn without_faults_everything_passes_at_once() {
    let (lane, out) = run(1, Faults::default());
    assert_eq!(lane.counts.passed, DATAGRAMS as u64);
    assert!(out.into_iter().eq((0..DATAGRAMS as u32).map(|n| (n, Duration::ZERO))));
}

#[test]
fn a_seed_repeats_what_happens_and_another_does_not() {
    let faults = Faults { loss: 0.3, duplicate: 0.1, corrupt: 0.1, ..Faults::default() };
    assert_eq!(run(1, faults).1, run(1, faults).1);
    assert_ne!(run(1, faults).1, run(2, faults).1);
}

#[test]
fn each_fault_takes_its_share() {
    let loss = run(1, Faults { loss: 0.2, ..Faults::default() });
    assert!(is_share(loss.0.counts.lost, 0.2) && is_share(loss.1.len(), 0.8));

    let burst = run(1, Faults { burst: 0.01, burst_length: 10, ..Faults::default() });
    let gaps = burst.1.windows(2).map(|pair| pair[1].0 - pair[0].0 - 1).filter(|gap| *gap > 0);
    assert!(gaps.clone().count() > 50 && gaps.clone().all(|gap| gap % 10 == 0));
    assert_eq!(u64::from(gaps.sum::<u32>()), burst.0.counts.lost);

    let twice = run(1, Faults { duplicate: 0.2, ..Faults::default() });
    assert!(is_share(twice.0.counts.duplicated, 0.2) && is_share(twice.1.len(), 1.2));

    let corrupt = run(1, Faults { corrupt: 0.2, ..Faults::default() });
    let flipped = (0..).zip(&corrupt.1).filter(|(n, (got, _))| n != got);
    assert!(flipped.clone().all(|(n, (got, _))| (n ^ got).count_ones() == 1));
    assert!(is_share(flipped.count(), 0.2) && is_share(corrupt.0.counts.corrupted, 0.2));

    let reorder = run(1, Faults { reorder: 0.2, ..Faults::default() });
    assert!(is_share(reorder.0.counts.reordered, 0.2));
    assert!(is_share(reorder.1.iter().filter(|(_, delay)| *delay == HELD_BACK).count(), 0.2));

    let blocked = run(1, Faults { blocked: true, ..Faults::default() });
    assert!(blocked.1.is_empty() && is_share(blocked.0.counts.blocked, 1.0));
}

#[test]
fn delays_are_within_their_bounds() {
    let (delay, jitter) = (Duration::from_millis(50), Duration::from_millis(20));
    let (_, out) = run(1, Faults { delay, jitter, ..Faults::default() });
    assert!(out.iter().all(|(_, after)| (delay..delay + jitter).contains(after)));
    assert!(out.windows(2).any(|pair| pair[0].1 > pair[1].1), "none overtakes another");
}

#[test]
fn a_slow_link_buffers_a_little_and_loses_the_rest() {
    // Four bytes a datagram: a thousand of them a second.
    let (lane, out) = run(1, Faults { rate: Some(4_000), ..Faults::default() });
    assert!((195..=205).contains(&out.len()), "{}", out.len());
    assert!(out.windows(2).all(|pair| pair[0].1 < pair[1].1));
    assert!(out.last().unwrap().1 <= LONGEST_WAIT + Duration::from_millis(2));
    assert_eq!(lane.counts.lost + lane.counts.passed, DATAGRAMS as u64);
}

#[test]
fn long_datagrams_do_not_fit() {
    let mut lane = Lane::new(1);
    lane.faults = Faults { mtu: Some(1_300), ..Faults::default() };
    assert!(lane.pass(Instant::now(), &[0; 1_300]).0.is_some());
    assert!(lane.pass(Instant::now(), &[0; 1_301]).0.is_none());
    assert_eq!((lane.counts.passed, lane.counts.too_long), (1, 1));
}

/// A proxy between two sockets.
struct Link {
    proxy: Proxy,
    peer: UdpSocket,
    gateway: UdpSocket,
}

impl Link {
    fn new() -> Self {
        let socket = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            socket
        };
        let (peer, gateway) = (socket(), socket());
        let proxy = Proxy::start(gateway.local_addr().unwrap(), 1);
        Self { proxy, peer, gateway }
    }

    fn send(&self, text: &str) {
        self.peer.send_to(text.as_bytes(), self.proxy.address()).unwrap();
    }

    /// What the gateway gets, and whence.
    fn next(&self) -> (String, SocketAddr) {
        Self::receive(&self.gateway)
    }

    fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
        let mut buffer = [0; 100];
        let (n, from) = socket.recv_from(&mut buffer).unwrap();
        (String::from_utf8(buffer[..n].to_vec()).unwrap(), from)
    }
}

#[test]
fn datagrams_go_both_ways_and_either_can_be_blocked() {
    let link = Link::new();
    link.send("to");
    let (text, back) = link.next();
    assert_eq!(text, "to");
    link.gateway.send_to(b"from", back).unwrap();
    assert_eq!(Link::receive(&link.peer), ("from".into(), link.proxy.address()));

    let blocked = Faults { blocked: true, ..Faults::default() };
    link.proxy.set(Way::ToGateway, blocked);
    link.send("lost");
    while link.proxy.counts(Way::ToGateway).blocked == 0 {
        std::thread::yield_now();
    }
    link.gateway.send_to(b"still", back).unwrap();
    assert_eq!(Link::receive(&link.peer).0, "still");
    link.proxy.heal();
    link.send("healed");
    assert_eq!(link.next().0, "healed");
    assert_eq!(link.proxy.counts(Way::ToGateway).passed, 2);
    assert_eq!(link.proxy.counts(Way::FromGateway).passed, 2);
}

#[test]
fn a_peer_gets_another_port() {
    let link = Link::new();
    link.send("one");
    let (_, before) = link.next();
    link.send("two");
    assert_eq!(link.next().1, before);
    link.proxy.rebind();
    link.send("three");
    let (_, after) = link.next();
    assert_ne!(after, before);
    link.gateway.send_to(b"to the old port", before).unwrap();
    link.gateway.send_to(b"to the new one", after).unwrap();
    assert_eq!(Link::receive(&link.peer).0, "to the new one");
}

#[test]
fn what_is_delayed_arrives_and_in_order() {
    let link = Link::new();
    link.proxy.set_both(Faults { delay: Duration::from_millis(30), ..Faults::default() });
    (0..100).for_each(|n| link.send(&n.to_string()));
    (0..100).for_each(|n| assert_eq!(link.next().0, n.to_string()));
    assert_eq!(link.proxy.counts(Way::ToGateway).delayed, 100);
}
