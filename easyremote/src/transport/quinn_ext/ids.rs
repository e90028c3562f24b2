//! Connection ids that a gateway knows again after a restart.

use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid, RandomConnectionIdGenerator};
use ring::hmac;

/// Random bytes of an id. quinn's `HashedConnectionIdGenerator` draws three: the id of a Retry,
/// which is not yet anybody's, then is that of another connection now and then where a thousand are
/// connected, and the handshake stands still until it fails.
const NONCE: usize = 8;

/// Bytes by which an id is known as one of the gateway's own making.
const TAG: usize = 4;

/// Makes them with a key that the gateway keeps.
pub(crate) struct StableIds {
    key: hmac::Key,
    random: RandomConnectionIdGenerator,
}

impl StableIds {
    pub(crate) fn new(key: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Self { key, random: RandomConnectionIdGenerator::new(NONCE) }
    }

    fn signed(&self, nonce: &[u8]) -> ConnectionId {
        let mut id = [0; NONCE + TAG];
        let tag = hmac::sign(&self.key, nonce);
        let bytes = nonce.iter().take(NONCE).chain(&tag.as_ref()[..TAG]);
        id.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        ConnectionId::new(&id)
    }
}

impl ConnectionIdGenerator for StableIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let nonce = self.random.generate_cid();
        self.signed(&nonce)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.get(..NONCE).is_some_and(|nonce| self.signed(nonce) == *id) {
            true => Ok(()),
            false => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        NONCE + TAG
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_known_by_their_key_and_no_two_are_equal() {
        let (mut one, again, other) =
            (StableIds::new(b"a"), StableIds::new(b"a"), StableIds::new(b"b"));
        // Of three random bytes, so many would have a hundred pairs.
        let ids: HashSet<_> = (0..60_000).map(|_| one.generate_cid()).collect();
        assert_eq!(ids.len(), 60_000);
        for id in ids.iter().take(100) {
            assert_eq!(id.len(), one.cid_len());
            assert!(again.validate(id).is_ok() && other.validate(id).is_err());
            let mut changed = id.to_vec();
            changed[3] ^= 1;
            assert!(one.validate(&ConnectionId::new(&changed)).is_err());
            assert!(one.validate(&ConnectionId::new(&id[..5])).is_err());
        }
    }
}
