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
    /// Unauthenticated connections, with the tokens that close them.
    unauthenticated: BTreeMap<u64, CancellationToken>,
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
    address: IpAddr,
    evicted: CancellationToken,
}

impl Admission {
    pub(crate) fn new(limits: GatewayLimits) -> Arc<Self> {
        Arc::new(Self { limits, table: Mutex::default() })
    }

    /// Admits a new peer if a slot is free; otherwise refuses it or asks it to retry.
    pub(crate) fn receive(
        self: &Arc<Self>,
        incoming: quinn::Incoming,
        hits: &Hits,
    ) -> Option<(quinn::Incoming, ConnectionSlot)> {
        let unproven = !incoming.remote_address_validated() && incoming.may_retry();
        match self.judge(incoming.remote_address().ip(), unproven, hits) {
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

    fn judge(self: &Arc<Self>, address: IpAddr, unproven: bool, hits: &Hits) -> AdmissionVerdict {
        let (limits, mut table) = (&self.limits, self.table());
        if unproven && table.unauthenticated.len() >= limits.retry_above {
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
        if table.unauthenticated.len() >= limits.unauthenticated
            && let Some((_, oldest)) = table.unauthenticated.pop_first()
        {
            hit(&hits.evicted);
            oldest.cancel();
        }
        table.connections += 1;
        table.next += 1;
        let (number, evicted) = (table.next, CancellationToken::new());
        table.unauthenticated.insert(number, evicted.clone());
        AdmissionVerdict::Admitted(ConnectionSlot {
            admission: self.clone(),
            number,
            address,
            evicted,
        })
    }

    /// Returns the number of unauthenticated connections.
    pub(crate) fn n_unauthenticated(&self) -> u64 {
        self.table().unauthenticated.len() as u64
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // Every critical section leaves the table consistent, so a panic in one does not corrupt
        // it.
        self.table.lock()
    }
}

impl ConnectionSlot {
    /// Waits until the slot is given to a newer connection. Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Marks the connection as authenticated.
    pub(crate) fn authenticate(&mut self) {
        let mut table = self.admission.table();
        table.unauthenticated.remove(&self.number);
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
        table.unauthenticated.remove(&self.number);
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
        let admission = Admission::new(GatewayLimits::new().connections(3));
        let hits = Hits::default();
        let judge = |host: u8| admission.judge([10, 0, 0, host].into(), false, &hits);
        let mut visitors: Vec<_> = (0..3).map(|host| admitted(judge(host)).unwrap()).collect();
        assert!(matches!(judge(3), AdmissionVerdict::Refused));
        assert_eq!(hits.read().connections, 1);
        visitors.pop();
        assert!(admitted(judge(3)).is_some());
    }

    #[test]
    fn an_address_has_a_budget_of_its_own() {
        let admission = Admission::new(GatewayLimits::new().connections_per_address(2));
        let hits = Hits::default();
        let judge = |text: &str| admission.judge(address(text), false, &hits);
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
        let admission = Admission::new(GatewayLimits::new().unauthenticated_per_address(1));
        let hits = Hits::default();
        let judge = |text: &str| admission.judge(address(text), false, &hits);
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
        let admission = Admission::new(GatewayLimits::new().unauthenticated(2));
        let hits = Hits::default();
        let judge = |host: u8| admission.judge([10, 0, 0, host].into(), false, &hits);
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
        let admission = Admission::new(GatewayLimits::new().retry_above(2));
        let hits = Hits::default();
        let judge = |unproven| admission.judge([10, 0, 0, 1].into(), unproven, &hits);
        let _two = [admitted(judge(true)).unwrap(), admitted(judge(true)).unwrap()];
        assert!(matches!(judge(true), AdmissionVerdict::Retry));
        assert!(admitted(judge(false)).is_some());
        assert_eq!(hits.read().retries, 1);
    }
}
