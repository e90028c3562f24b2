//! Who calls.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use crate::error::printable::one_line;
use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::control::Role;
use crate::wire::limits::MAX_NAME;

/// Who makes a call, as the gateway knows it; from [`Context::caller`](crate::Context::caller).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// Whether it is a client or an admin, or a node whose function makes the call.
    pub role: Role,
    /// A node's id; of a client `client-`, of an admin `admin-`, and a number that is random for
    /// each process. A name to tell callers apart: what is proven are role and identity.
    pub id: String,
    /// Who it is: what its [token](crate::gateway::GatewayBuilder::token) is called, up to a `#`, or the
    /// name in its [certificate](crate::gateway::GatewayBuilder::authority). Peers whose token has no name
    /// of its own, and those of the gateway's own user, are `default`.
    pub identity: String,
    /// The address that the gateway sees it at.
    pub address: SocketAddr,
}

/// A caller, with the bytes that it is written as: those of one connection are the same for all of
/// its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownCaller(Arc<EncodedCaller>);

#[derive(Debug, PartialEq, Eq)]
struct EncodedCaller {
    caller: Caller,
    encoded: Vec<u8>,
    mark: u128,
}

impl KnownCaller {
    pub(crate) fn new(caller: Caller) -> Self {
        let mut encoded = vec![caller.role.code()];
        encoded.put_str(&caller.id, MAX_NAME);
        encoded.put_str(&caller.address.to_string(), MAX_NAME);
        encoded.put_str(&caller.identity, MAX_NAME);
        Self::of(caller, encoded)
    }

    fn of(caller: Caller, encoded: Vec<u8>) -> Self {
        let mark = caller.mark();
        Self(Arc::new(EncodedCaller { caller, encoded, mark }))
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        &self.0.encoded
    }

    /// A number that other callers have with a probability of nothing, whatever they call
    /// themselves: nobody outside of this process knows how it is made.
    pub(crate) fn mark(&self) -> u128 {
        self.0.mark
    }

    /// Reads a caller, unless it is the one that was read last.
    ///
    /// # Errors
    /// The bytes make no sense.
    pub(crate) fn read(encoded: &[u8], last: &mut Option<Self>) -> Result<Self, Malformed> {
        if let Some(last) = last.as_ref().filter(|last| last.0.encoded == encoded) {
            return Ok(last.clone());
        }
        let read = Self::of(Caller::read(encoded)?, encoded.to_vec());
        Ok(last.insert(read).clone())
    }
}

impl Deref for KnownCaller {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0.caller
    }
}

impl Caller {
    /// See [`KnownCaller::mark`]. Not of its address, which changes when it connects anew.
    fn mark(&self) -> u128 {
        static KEY: OnceLock<[RandomState; 2]> = OnceLock::new();
        let keys = KEY.get_or_init(Default::default);
        let who = (self.role.code(), &self.id, &self.identity);
        let [high, low] = keys.each_ref().map(|key| u128::from(key.hash_one(who)));
        high << 64 | low
    }

    fn read(value: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(value);
        let role = Role::from_code(reader.u8("caller")?)
            .ok_or_else(|| Malformed::new("the caller has an unknown role"))?;
        let name = |text: &str| one_line(text, MAX_NAME).into_owned();
        let id = name(reader.str(MAX_NAME, "caller")?);
        let address = reader.str(MAX_NAME, "caller")?;
        let address =
            address.parse().map_err(|_| Malformed::new("the caller's address is none"))?;
        let identity = name(reader.str(MAX_NAME, "caller")?);
        Ok(Self { role, id, identity, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_a_mark_wherever_it_calls_from() {
        let mark = |role, id: &str, identity: &str, address: &str| {
            let (id, identity) = (id.to_owned(), identity.to_owned());
            let address = address.parse().unwrap();
            KnownCaller::new(Caller { role, id, identity, address }).mark()
        };
        let one = mark(Role::Client, "a", "x", "[::1]:1");
        assert_eq!(one, mark(Role::Client, "a", "x", "127.0.0.1:2"));
        let others = [(Role::Node, "a", "x"), (Role::Client, "ax", ""), (Role::Client, "", "ax")];
        for (role, id, identity) in others {
            assert_ne!(one, mark(role, id, identity, "[::1]:1"), "{id} {identity}");
        }
    }

    #[test]
    fn each_caller_is_read_as_it_is() {
        let caller = |id: &str| {
            let (id, identity) = (id.to_owned(), "ci".to_owned());
            Caller { role: Role::Client, id, identity, address: "[::1]:4433".parse().unwrap() }
        };
        let mut last = None;
        for id in ["a", "a", "b", "a", ""] {
            let written = KnownCaller::new(caller(id));
            let read = KnownCaller::read(written.encoded(), &mut last).unwrap();
            assert_eq!((&*read, read.encoded()), (&caller(id), written.encoded()));
        }
        assert!(KnownCaller::read(&[], &mut last).is_err());
    }
}
