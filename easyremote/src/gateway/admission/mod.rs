//! Who may connect: budgets of connections, in all and for each address.

pub(crate) mod reject_log;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio_util::sync::CancellationToken;

use crate::gateway::limits::{GatewayLimits, Hits, hit};

/// Who is connected, and how many may be.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: GatewayLimits,
    table: Mutex<ConnectionTable>,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    /// For the next connection; counts up, so that the first of a map is the oldest.
    next: u64,
    connections: usize,
    addresses: HashMap<IpAddr, PerAddress>,
    /// Those that have not proven who they are, and what closes them.
    unauthenticated: BTreeMap<u64, CancellationToken>,
}

#[derive(Debug, Default)]
struct PerAddress {
    connections: usize,
    unauthenticated: usize,
}

/// What becomes of a new peer.
#[derive(Debug)]
enum AdmissionVerdict {
    Admitted(ConnectionSlot),
    /// It has to show that its address is its own.
    Retry,
    Refused,
}

/// A connection's place; dropping it frees the place.
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

    /// Lets a new peer in, if there is room for it.
    pub(crate) fn receive(
        self: &Arc<Self>,
        incoming: quinn::Incoming,
        hits: &Hits,
    ) -> Option<(quinn::Incoming, ConnectionSlot)> {
        let unproven = !incoming.remote_address_validated() && incoming.may_retry();
        match self.judge(incoming.remote_address().ip(), unproven, hits) {
            AdmissionVerdict::Admitted(visitor) => return Some((incoming, visitor)),
            AdmissionVerdict::Retry => {
                // Fails only for an address that is validated, and this one is not.
                if let Err(error) = incoming.retry() {
                    error.into_incoming().refuse();
                }
            }
            // Answered, so that an honest peer tries elsewhere or again: the answer is shorter than
            // the packet that asked, so it amplifies nothing.
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

    /// Connections that have not proven who they are.
    pub(crate) fn n_unauthenticated(&self) -> u64 {
        self.table().unauthenticated.len() as u64
    }

    fn table(&self) -> MutexGuard<'_, ConnectionTable> {
        // Every section leaves the table whole, so a panic in one does not spoil it.
        self.table.lock()
    }
}

impl ConnectionSlot {
    /// Resolves when its place is taken by a newer one. Cancel safe.
    pub(crate) async fn evicted(&self) {
        self.evicted.cancelled().await;
    }

    /// Notes that it has proven who it is.
    pub(crate) fn is_authenticated(&mut self) {
        let mut table = self.admission.table();
        table.unauthenticated.remove(&self.number);
        if let Some(there) = table.addresses.get_mut(&self.address) {
            there.unauthenticated = there.unauthenticated.saturating_sub(1);
        }
        // It counts as one of them no more, also not when it leaves.
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

/// What counts as one address: hosts get whole IPv6 networks of 64 bits (RFC 6177), and IPv4 may
/// come in the clothes of IPv6.
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
        of_one.iter_mut().for_each(ConnectionSlot::is_authenticated);
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
        second.is_authenticated();
        assert!(admitted(judge("2001:db8::1")).is_some(), "one that is known is not in the way");
    }

    #[test]
    fn the_oldest_stranger_makes_room_for_a_new_one() {
        let admission = Admission::new(GatewayLimits::new().unauthenticated(2));
        let hits = Hits::default();
        let judge = |host: u8| admission.judge([10, 0, 0, host].into(), false, &hits);
        let mut known = admitted(judge(0)).unwrap();
        known.is_authenticated();
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
