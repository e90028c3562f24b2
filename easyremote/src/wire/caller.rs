//! The caller of a call, as the gateway has authenticated it.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::printable::one_line;
use crate::wire::bytes::{Malformed, Reader, WriteBytes};
use crate::wire::control::Role;
use crate::wire::limits::MAX_NAME;

/// The caller of a call, as the gateway has authenticated it. Returned by
/// [`Context::caller`](crate::Context::caller).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Caller {
    /// The caller's role; a node for a nested call of one of its functions.
    #[serde(with = "role_name")]
    pub role: Role,
    /// The id of a node. For a client `client-` and a random number of its process, for an admin
    /// `admin-` and such a number. It distinguishes callers, but proves nothing: authenticated are
    /// `role` and `identity`.
    #[serde(deserialize_with = "name")]
    pub id: String,
    /// The authenticated identity: the name of the caller's
    /// [token](crate::gateway::GatewayBuilder::token) up to a `#`, or the name in its
    /// [certificate](crate::gateway::GatewayBuilder::authority). It is `default` for tokens without
    /// a name, and for peers of the gateway's own user.
    #[serde(deserialize_with = "name")]
    pub identity: String,
    /// The caller's address as the gateway sees it.
    pub address: SocketAddr,
}

/// How roles are written in the gateway's own lists.
mod role_name {
    use serde::{Deserialize, Deserializer, Serializer, de};

    use crate::wire::control::Role;

    pub(super) fn serialize<S: Serializer>(role: &Role, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(role.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Role, D::Error> {
        let name = String::deserialize(from)?;
        let role = Role::ALL.into_iter().find(|role| role.name() == name);
        role.ok_or_else(|| de::Error::custom("an unknown role"))
    }
}

/// Decodes a name as one printable line.
fn name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Ok(one_line(&String::deserialize(from)?, MAX_NAME).into_owned())
}

/// A caller with its encoding, which is the same for all calls of a connection.
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

    /// Returns a hash of role, id and identity. Callers cannot provoke a collision by their choice
    /// of an id: the hash is keyed with secrets of this process.
    pub(crate) fn mark(&self) -> u128 {
        self.0.mark
    }

    /// Decodes a caller, or reuses the one that was read last if the bytes are the same.
    ///
    /// # Errors
    /// If the bytes are malformed.
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
    /// Computes [`KnownCaller::mark`]. Leaves out the address, which changes with a new connection.
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
            address.parse().map_err(|_| Malformed::new("the caller's address is invalid"))?;
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
    fn a_caller_in_a_list_is_read_as_it_was_written_and_printable() {
        let address = "[::1]:4433".parse().unwrap();
        let (id, identity) = ("a".to_owned(), "ci".to_owned());
        let caller = Caller { role: Role::Admin, id, identity, address };
        let written = serde_json::to_value(&caller).unwrap();
        assert_eq!(
            (&written["role"], &written["address"]),
            (&"admin".into(), &"[::1]:4433".into())
        );
        assert_eq!(serde_json::from_value::<Caller>(written.clone()).unwrap(), caller);
        let mut hostile = written.clone();
        hostile["id"] = "a\u{1b}[2J\nb".into();
        assert_eq!(serde_json::from_value::<Caller>(hostile).unwrap().id, "a[2J b");
        let mut unknown = written;
        unknown["role"] = "king".into();
        serde_json::from_value::<Caller>(unknown).unwrap_err();
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
