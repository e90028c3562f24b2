//! Admission control: limits on connections, in total and per address.

pub(crate) mod reject_log;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::gateway::limits::{GatewayLimits, Hits, hit};

/// The open connections, and their limits.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: GatewayLimits,
    table: Mutex<ConnectionTable>,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    /// Number of the next connection. Numbers increase, so the first entry of a map is the oldest.
    next: u64,
    connections: usize,
    addresses: HashMap<IpAddr, PerAddress>,
    /// Unauthenticated connections of each thread, with the tokens that close them.
    unauthenticated: Vec<BTreeMap<u64, CancellationToken>>,
}

#[derive(Debug, Default)]
struct PerAddress {
    connections: usize,
    unauthenticated: usize,
}

/// The decision about a new peer.
#[derive(Debug)]
enum AdmissionVerdict {
    Admitted(ConnectionSlot),
    /// The peer must validate its address first.
    Retry,
    Refused,
}

/// The slot of a connection; dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    admission: Arc<Admission>,
    number: u64,
    /// The index of the thread that serves the connection.
    thread: u8,
    address: IpAddr,
    evicted: CancellationToken,
}

impl Admission {
    /// Creates the admission control of a gateway with `threads` threads.
    pub(crate) fn new(limits: GatewayLimits, threads: u8) -> Arc<Self> {
        let unauthenticated = vec![BTreeMap::new(); threads.into()];
        let table = Mutex::new(ConnectionTable { unauthenticated, ..Default::default() });
        Arc::new(Self { limits, table })
    }

    /// Admits a new peer of a thread if a slot is free; otherwise refuses it or asks it to retry.
    pub(crate) fn receive(
        self: &Arc<Self>,
        incoming: quinn::Incoming,
        thread: u8,
        hits: &Hits,
    ) -> Option<(quinn::Incoming, ConnectionSlot)> {
        let unproven = !incoming.remote_address_validated() && incoming.may_retry();
        match self.judge(incoming.remote_address().ip(), thread, unproven, hits) {
            AdmissionVerdict::Admitted(visitor) => return Some((incoming, visitor)),
            AdmissionVerdict::Retry => {
                // Fails only for a validated address, and this one is not.
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            // Send a refusal, so that an honest peer tries elsewhere or again. It is shorter than
            // the packet that caused it, so it does not amplify.
            AdmissionVerdict::Refused => incoming.refuse(),
        }
        None
    }

    fn judge(
        self: &Arc<Self>,
        address: IpAddr,
        thread: u8,
        unproven: bool,
        hits: &Hits,
    ) -> AdmissionVerdict {
        let (limits, mut table) = (&self.limits, self.table());
        if unproven && table.n_unauthenticated() >= limits.retry_above {
            hit(&hits.retries);
            return AdmissionVerdict::Retry;
        }
        if table.connections >= limits.connections {
            hit(&hits.connections);
            return AdmissionVerdict::Refused;
        }
        let address = network(address);
        let there = table.addresses.entry(address).or_default();
        if there.connections >= limits.connections_per_address
            || there.unauthenticated >= limits.unauthenticated_per_address
        {
            hit(&hits.per_address);
            return AdmissionVerdict::Refused;
        }
        there.connections += 1;
        there.unauthenticated += 1;
        if let Some(oldest) = table.make_room(thread, limits.unauthenticated) {
            hit(&hits.evicted);
            oldest.cancel();
        }
        table.connections += 1;
        table.next += 1;
        let (number, evicted) = (table.next, CancellationToken::new());
        if let Some(there) = table.unauthenticated.get_mut(usize::from(thread)) {
            there.insert(number, evicted.clone());
        }
        AdmissionVerdict::Admitted(ConnectionSlot {
            admission: self.clone(),
            number,
            thread,
            address,
            evicted,
        })
    }

    /// Returns the number of unauthenticated connections.
    pub(crate) fn n_unauthenticated(&self) -> u64 {
        self.table().n_unauthenticated() as u64
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // Every critical section leaves the table consistent, so a panic in one does not corrupt
        // it.
        self.table.lock()
    }
}

impl ConnectionTable {
    fn n_unauthenticated(&self) -> usize {
        self.unauthenticated.iter().map(BTreeMap::len).sum()
    }

    /// Makes room for one more unauthenticated connection of a thread, with `limit` for all threads
    /// together. Returns the token of the connection that has to go, if any.
    fn make_room(&mut self, thread: u8, limit: usize) -> Option<CancellationToken> {
        let budget = thread_budget(limit, self.unauthenticated.len());
        let all = self.n_unauthenticated();
        let own = self.unauthenticated.get_mut(usize::from(thread))?;
        if own.len() >= budget {
            // Its own, so that peers who pile up on one thread only evict each other.
            return own.pop_first().map(|(_, oldest)| oldest);
        }
        if all < limit {
            return None;
        }
        let oldest = |there: &&mut BTreeMap<u64, _>| there.keys().next().copied();
        let there = self.unauthenticated.iter_mut().filter(|there| !there.is_empty());
        there.min_by_key(oldest)?.pop_first().map(|(_, oldest)| oldest)
    }

    fn remove_unauthenticated(&mut self, slot: &ConnectionSlot) {
        if let Some(there) = self.unauthenticated.get_mut(usize::from(slot.thread)) {
            there.remove(&slot.number);
        }
    }
}

/// Returns how many of `limit` unauthenticated connections one of `threads` threads may have: one
/// and a half times its share.
///
/// Anyone can select the thread of a connection by its first packet. Honest peers select it at
/// random, and hardly ever exceed their share by so much while the limit is near.
fn thread_budget(limit: usize, threads: usize) -> usize {
    let share = limit.saturating_mul(3).div_ceil(threads.max(1) * 2);
    share.clamp(1, limit.max(1))
}

impl ConnectionSlot {
    /// Waits until the slot is given to a newer connection. Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Marks the connection as authenticated.
    pub(crate) fn authenticate(&mut self) {
        let mut table = self.admission.table();
        table.remove_unauthenticated(self);
        if let Some(there) = table.addresses.get_mut(&self.address) {
            there.unauthenticated = there.unauthenticated.saturating_sub(1);
        }
        // 0 marks it as no longer unauthenticated, so that `drop` does not count it down again.
        self.number = 0;
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut table = self.admission.table();
        table.connections -= 1;
        table.remove_unauthenticated(self);
        if let Some(there) = table.addresses.get_mut(&self.address) {
            there.connections -= 1;
            there.unauthenticated -= usize::from(self.number != 0);
            if there.connections == 0 {
                table.addresses.remove(&self.address);
            }
        }
    }
}

/// Returns the unit that counts as one address: a /64 network for IPv6, which is what a host is
/// assigned (RFC 6177), and the plain IPv4 address for an IPv4-mapped one.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admitted(verdict: AdmissionVerdict) -> Option<ConnectionSlot> {
        match verdict {
            AdmissionVerdict::Admitted(visitor) => Some(visitor),
            AdmissionVerdict::Retry | AdmissionVerdict::Refused => None,
        }
    }

    #[test]
    fn one_more_than_the_limit_is_refused_until_one_leaves() {
        let admission = Admission::new(GatewayLimits::new().connections(3), 1);
        let hits = Hits::default();
        let judge = |host: u8| admission.judge([10, 0, 0, host].into(), 0, false, &hits);
        let mut visitors: Vec<_> = (0..3).map(|host| admitted(judge(host)).unwrap()).collect();
        assert!(matches!(judge(3), AdmissionVerdict::Refused));
        assert_eq!(hits.read().connections, 1);
        visitors.pop();
        assert!(admitted(judge(3)).is_some());
    }

    #[test]
    fn an_address_has_a_budget_of_its_own() {
        let admission = Admission::new(GatewayLimits::new().connections_per_address(2), 1);
        let hits = Hits::default();
        let judge = |text: &str| admission.judge(address(text), 0, false, &hits);
        let mut of_one: Vec<_> = (0..2).map(|_| admitted(judge("10.0.0.1")).unwrap()).collect();
        of_one.iter_mut().for_each(ConnectionSlot::authenticate);
        assert!(matches!(judge("10.0.0.1"), AdmissionVerdict::Refused));
        assert!(matches!(judge("::ffff:10.0.0.1"), AdmissionVerdict::Refused), "the same address");
        assert!(admitted(judge("10.0.0.2")).is_some());
        assert_eq!(hits.read().per_address, 2);
        of_one.clear();
        assert!(admission.table().addresses.is_empty(), "nothing is left of them");
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one() {
        let admission = Admission::new(GatewayLimits::new().unauthenticated_per_address(1), 1);
        let hits = Hits::default();
        let judge = |text: &str| admission.judge(address(text), 0, false, &hits);
        let first = admitted(judge("2001:db8::1")).unwrap();
        assert!(matches!(judge("2001:db8::2:3"), AdmissionVerdict::Refused));
        assert!(admitted(judge("2001:db8:0:1::1")).is_some());
        drop(first);
        let mut second = admitted(judge("2001:db8::2:3")).unwrap();
        second.authenticate();
        assert!(admitted(judge("2001:db8::1")).is_some(), "one that is known is not in the way");
    }

    #[test]
    fn the_oldest_stranger_makes_room_for_a_new_one() {
        let admission = Admission::new(GatewayLimits::new().unauthenticated(2), 1);
        let hits = Hits::default();
        let judge = |host: u8| admission.judge([10, 0, 0, host].into(), 0, false, &hits);
        let mut known = admitted(judge(0)).unwrap();
        known.authenticate();
        let strangers: Vec<_> = (1..4).map(|host| admitted(judge(host)).unwrap()).collect();
        let evicted: Vec<_> =
            strangers.iter().map(|visitor| visitor.evicted.is_cancelled()).collect();
        assert_eq!(evicted, [true, false, false]);
        assert!(!known.evicted.is_cancelled());
        assert_eq!((hits.read().evicted, admission.n_unauthenticated()), (1, 2));
        drop(strangers);
        drop(known);
        assert_eq!((admission.n_unauthenticated(), admission.table().connections), (0, 0));
    }

    #[test]
    fn under_load_an_address_has_to_be_proven() {
        let admission = Admission::new(GatewayLimits::new().retry_above(2), 1);
        let hits = Hits::default();
        let judge = |unproven| admission.judge([10, 0, 0, 1].into(), 0, unproven, &hits);
        let _two = [admitted(judge(true)).unwrap(), admitted(judge(true)).unwrap()];
        assert!(matches!(judge(true), AdmissionVerdict::Retry));
        assert!(admitted(judge(false)).is_some());
        assert_eq!(hits.read().retries, 1);
    }

    #[test]
    fn whoever_piles_up_on_one_thread_leaves_room_on_the_others() {
        for (limit, threads, budget) in [(1, 2, 1), (8, 2, 6), (8, 1, 8), (9, 4, 4), (48, 64, 2)] {
            assert_eq!(thread_budget(limit, threads), budget);
            let admission =
                Admission::new(GatewayLimits::new().unauthenticated(limit), threads as u8);
            let hits = Hits::default();
            let judge = |thread| {
                admitted(admission.judge([10, 0, 0, 1].into(), thread, false, &hits)).unwrap()
            };
            // Honest peers of the last thread, as many as fit beside the budget of the first.
            let n_honest = budget.min(limit - budget);
            let honest: Vec<_> = (0..n_honest).map(|_| judge(threads as u8 - 1)).collect();
            let piled: Vec<_> = (0..3 * limit).map(|_| judge(0)).collect();
            let open = |slots: &[ConnectionSlot]| {
                slots.iter().filter(|slot| !slot.evicted.is_cancelled()).count()
            };
            assert_eq!(open(&piled), budget, "{limit} {threads}");
            assert_eq!(open(&honest), n_honest, "{limit} {threads}");
            assert!(admission.n_unauthenticated() <= limit as u64);
        }
    }

    #[test]
    fn all_threads_together_keep_to_the_limit() {
        let admission = Admission::new(GatewayLimits::new().unauthenticated(4), 4);
        let hits = Hits::default();
        let judge =
            |thread| admitted(admission.judge([10, 0, 0, 1].into(), thread, false, &hits)).unwrap();
        let slots: Vec<_> = (0..12).map(|i| judge(i % 4)).collect();
        let open: Vec<_> = slots.iter().map(|slot| !slot.evicted.is_cancelled()).collect();
        assert_eq!(open, [vec![false; 8], vec![true; 4]].concat(), "the oldest of all go");
        assert_eq!((hits.read().evicted, admission.n_unauthenticated()), (8, 4));
        drop(slots);
        assert_eq!((admission.n_unauthenticated(), admission.table().connections), (0, 0));
    }
}
