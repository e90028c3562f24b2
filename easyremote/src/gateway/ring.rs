//! The ring on which keys find their nodes: consistent hashing (Karger and others, 1997).

use std::collections::{BTreeMap, BTreeSet};

use crate::gateway::bits::Bits;

/// Where the nodes are among all keys. A key belongs to the node whose point is the next from it on,
/// so that a node that comes or goes moves only the keys that it gets or had.
#[derive(Debug, Default)]
pub(super) struct Ring {
    /// With the place of the node that each belongs to.
    points: BTreeSet<(u64, usize)>,
    /// Those of each place, in order.
    of: BTreeMap<usize, Vec<u64>>,
}

/// Points of each node: the shares of nodes then differ by about a tenth. They are 4 KiB, or so.
const POINTS: u64 = 128;

impl Ring {
    pub(super) fn insert(&mut self, place: usize, id: &str) {
        self.remove(place);
        let mut points: Vec<u64> = (0..POINTS).map(|n| point(id, n)).collect();
        points.sort_unstable();
        self.points.extend(points.iter().map(|&point| (point, place)));
        self.of.insert(place, points);
    }

    pub(super) fn remove(&mut self, place: usize) {
        for point in self.of.remove(&place).unwrap_or_default() {
            self.points.remove(&(point, place));
        }
    }

    /// To whom of `candidates` a key belongs.
    pub(super) fn owner(&self, key: u64, candidates: &Bits) -> Option<usize> {
        let (n, all) = (candidates.count(), self.of.len());
        if n == 0 {
            return None;
        }
        // Either way costs little: one asks each of a few candidates, the other passes points of
        // others, and the more candidates there are, the sooner it comes upon one.
        if 8 * n * n < all {
            let next = |place| Some((self.next_of(place, key)?, place));
            return candidates.iter().filter_map(next).min().map(|(_, place)| place);
        }
        let from_key = self.points.range((key, 0)..).chain(self.points.range(..(key, 0)));
        from_key.map(|(_, place)| *place).find(|place| candidates.contains(*place))
    }

    /// The point of a place that is next from `key` on; `true` if it is beyond the end of all keys.
    fn next_of(&self, place: usize, key: u64) -> Option<(bool, u64)> {
        let points = self.of.get(&place)?;
        let next = points.get(points.partition_point(|point| *point < key));
        next.map(|point| (false, *point)).or_else(|| points.first().map(|point| (true, *point)))
    }
}

/// The point number `n` of the node called `id`.
fn point(id: &str, n: u64) -> u64 {
    // FNV-1a, and then the finaliser of SplitMix64 (Steele, Lea and Flood, 2014): without it, ids
    // that differ in their last letter only would have their points side by side. Not
    // `DefaultHasher`, since all gateways have to agree, whatever their version of the standard
    // library.
    let bytes = id.bytes().chain(n.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut mixed = hash;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(places: usize) -> (Ring, Bits) {
        let (mut ring, mut all) = (Ring::default(), Bits::default());
        for place in 0..places {
            ring.insert(place, &format!("node-{place}"));
            all.insert(place);
        }
        (ring, all)
    }

    #[test]
    fn keys_spread_and_move_only_when_they_have_to() {
        let (mut ring, all) = ring(10);
        let mut rng = fastrand::Rng::with_seed(1);
        let keys: Vec<u64> = (0..10_000).map(|_| rng.u64(..)).collect();
        let before: Vec<usize> = keys.iter().map(|&key| ring.owner(key, &all).unwrap()).collect();
        let counts: Vec<_> =
            (0..10).map(|place| before.iter().filter(|it| **it == place).count()).collect();
        assert!(counts.iter().all(|n| (700..1_300).contains(n)), "{counts:?}");
        ring.remove(9);
        for (key, before) in keys.iter().zip(&before) {
            let after = ring.owner(*key, &all).unwrap();
            assert!(after == *before || *before == 9, "{key} moved for nothing");
        }
        ring.insert(9, "node-9");
        assert!(
            keys.iter().zip(&before).all(|(key, before)| ring.owner(*key, &all) == Some(*before))
        );
    }

    #[test]
    fn an_owner_is_the_next_of_the_candidates_however_it_is_found() {
        let (ring, _) = ring(80);
        let mut rng = fastrand::Rng::with_seed(1);
        for n in [0, 1, 2, 3, 4, 5, 20, 80] {
            for _ in 0..50 {
                let (mut candidates, key) = (Bits::default(), rng.u64(..));
                (0..n).for_each(|_| candidates.insert(rng.usize(..80)));
                let distance = |(point, _): &&(u64, usize)| point.wrapping_sub(key);
                let points = ring.points.iter().filter(|(_, place)| candidates.contains(*place));
                let expected = points.min_by_key(distance).map(|(_, place)| *place);
                assert_eq!(ring.owner(key, &candidates), expected);
            }
        }
    }
}
