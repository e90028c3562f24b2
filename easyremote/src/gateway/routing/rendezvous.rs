//! Rendezvous hashing: finds the node that owns a sticky key.
//!
//! Also called highest random weight: every node has a pseudo-random weight for each key, and the
//! node with the highest weight owns the key (Thaler and Ravishankar, "Using name-based mappings to
//! increase hit rates", IEEE/ACM Transactions on Networking, 1998). A node that joins or leaves
//! moves only the keys that it gains or owned, and excluding candidates never moves a key between
//! the others.

/// Hashes a node's id, or any other name.
///
/// Uses FNV-1a and the finaliser of SplitMix64 (Steele, Lea and Flood, 2014). All gateways must
/// agree on the owner of a key, so this cannot be `DefaultHasher`, which may change with the
/// toolchain.
pub(crate) fn seed(name: &str) -> u64 {
    finalize(name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    }))
}

/// Returns the weight for `key` of the node with this [`seed`].
pub(crate) fn weight(seed: u64, key: u64) -> u64 {
    // Keys are chosen by callers and may be 1, 2, 3: the multiplication spreads them over all bits
    // before they are combined with the seed, and the finaliser mixes both.
    finalize(seed ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn finalize(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(key: u64, nodes: &[usize]) -> usize {
        let weight_of = |node: &&usize| weight(seed(&format!("node-{node}")), key);
        *nodes.iter().max_by_key(weight_of).unwrap()
    }

    #[test]
    fn keys_spread_and_move_only_when_they_have_to() {
        let (all, most): (Vec<usize>, Vec<usize>) = ((0..10).collect(), (0..9).collect());
        let mut rng = fastrand::Rng::with_seed(1);
        let random = (0..5_000).map(|_| rng.u64(..));
        let keys: Vec<u64> = random.chain(0..5_000).collect();
        let mut counts = [0; 10];
        for &key in &keys {
            let (before, after) = (owner(key, &all), owner(key, &most));
            assert!(after == before || before == 9, "{key} moved for nothing");
            counts[before] += 1;
        }
        assert!(counts.iter().all(|n| (850..1_150).contains(n)), "{counts:?}");
    }

    /// Gateways of different versions must agree.
    #[test]
    fn owners_never_change_between_versions() {
        let nodes: Vec<usize> = (0..10).collect();
        let owners: Vec<usize> = (0..12).map(|key| owner(key, &nodes)).collect();
        assert_eq!(owners, GOLDEN);
        assert_eq!(weight(seed("gpu-1"), 7), GOLDEN_WEIGHT);
    }

    const GOLDEN: [usize; 12] = [6, 8, 7, 1, 1, 7, 7, 2, 8, 5, 3, 9];
    const GOLDEN_WEIGHT: u64 = 12_599_794_460_899_476_183;
}
