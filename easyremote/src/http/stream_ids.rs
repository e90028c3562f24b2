//! The ids of server-sent events, with which a stream continues: `Last-Event-ID`.
//!
//! ```text
//! 4711.cg1JqGmYlW0k9bXn.bTn3..   the item that the stream goes on behind, its tag, and the stream
//! 4711!.yAq0Yc5BzHmV3w2x.bTn3..  the same stream has ended
//! ```
//!
//! The stream is sealed with a key of the gateway's identity, so that any gateway with the same key
//! can open it, and nobody else: it has the secret with which the node gives the stream away. It is
//! bound to whom it was made for: the identity and the function, or the ticket that opened the stream.
//! Each item has a tag of its own and not a
//! seal, because sealing costs random numbers and a longer text.

use std::fmt;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use subtle::ConstantTimeEq;

use crate::client::ring::StreamPosition;
use crate::error::{Error, ErrorKind};
use crate::gateway::BearerGrant;
use crate::transport::auth::credentials::Secret;
use crate::transport::auth::identity::random;
use crate::wire::caller::Caller;
use crate::wire::control::{Role, TokenId};
use crate::wire::limits::MAX_NAME;
use crate::wire::resume::ResumeSecret;

/// Whom an id is good for.
#[derive(Clone, Copy, Debug)]
pub(super) enum IdOwner<'a> {
    /// A caller with a bearer, at a function.
    Bearer(&'a Caller, &'a str),
    /// Whoever shows the ticket that has opened the stream.
    Ticket(&'a SpentTicket),
}

/// A ticket that has opened a stream, as a request shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SpentTicket {
    pub(super) secret: String,
    pub(super) path: String,
    /// Of the page that shows it.
    pub(super) origin: Option<String>,
}

/// A request without a bearer that reads a stream by its ticket: an extension, added by the guard.
#[derive(Clone, Debug)]
pub(super) struct TicketReader {
    pub(super) ticket: SpentTicket,
    /// The bearer that the ticket was made with.
    pub(super) grant: BearerGrant,
    /// The stream that it continues; `None` if it opens one.
    pub(super) opened: Option<OpenedId>,
}

/// Returns the id in the header `Last-Event-ID`; `None` without one.
///
/// # Errors
/// `InvalidInput` if it is there twice, or no text.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let odd = || Error::new(ErrorKind::InvalidInput, "`Last-Event-ID` is there twice, or no text");
    let mut ids = headers.get_all("last-event-id").into_iter();
    let Some(id) = ids.next().filter(|id| !id.is_empty()) else { return Ok(None) };
    match ids.next() {
        None => id.to_str().map(Some).map_err(|_| odd()),
        Some(_) => Err(odd()),
    }
}

/// Seals and opens ids.
pub(super) struct StreamIds {
    seal: LessSafeKey,
    tag: hmac::Key,
}

/// The id of a stream, behind any of its items.
pub(super) struct StreamId {
    tag: hmac::Key,
    sealed: String,
}

/// What an id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OpenedId {
    pub(super) position: StreamPosition,
    /// The bearer that the ticket was made with.
    pub(super) grant: Option<BearerGrant>,
    /// Whether the stream has ended there, so that there is nothing to continue.
    pub(super) ended: bool,
}

/// Length of the tag of an item, in bytes: as long as that of a TLS record may be (RFC 6655).
const TAG: usize = 12;

/// Longest id, in bytes: a number, a tag, and the sealed id of a node.
const MAX_ID: usize = 24 + 2 * TAG + 2 * (NONCE_LEN + 16 + 16 + GRANT + MAX_NAME + 16);

/// Length of a grant: the code of a role, the id of a token, and a generation.
const GRANT: usize = 1 + size_of::<TokenId>() + 8;

impl StreamIds {
    /// Creates the keys from a secret of the gateway's identity.
    pub(super) fn new(secret: &Secret) -> Self {
        let seal = UnboundKey::new(&CHACHA20_POLY1305, secret.derive("seal").expose());
        Self {
            // Both have 32 bytes.
            seal: LessSafeKey::new(seal.expect("a key of the length that the algorithm takes")),
            tag: hmac::Key::new(hmac::HMAC_SHA256, secret.derive("tag").expose()),
        }
    }

    /// Seals what a position says of its stream, for its owner. `grant` is the bearer that a ticket was
    /// made with.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no random numbers.
    pub(super) fn seal(
        &self,
        position: &StreamPosition,
        owner: IdOwner<'_>,
        grant: Option<&BearerGrant>,
    ) -> Result<StreamId, Error> {
        let nonce: [u8; NONCE_LEN] = random()?;
        let mut text = Vec::with_capacity(16 + 16 + GRANT + position.node.len() + 16);
        text.extend_from_slice(&position.call);
        text.extend_from_slice(&position.secret.0);
        if let Some(BearerGrant { role, token, generation }) = grant {
            text.push(role.code());
            text.extend_from_slice(token);
            text.extend_from_slice(&generation.to_be_bytes());
        }
        text.extend_from_slice(position.node.as_bytes());
        let bound = bound(owner);
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        // Fails only above the limits of the algorithm, of 256 GiB.
        self.seal
            .seal_in_place_append_tag(nonce_used, Aad::from(bound), &mut text)
            .expect("a text within the limits of the algorithm");
        let sealed = BASE64.encode([&nonce[..], &text].concat());
        Ok(StreamId { tag: self.tag.clone(), sealed })
    }

    /// Opens an id that its owner shows. `None` if it is another's.
    pub(super) fn open(&self, id: &str, owner: IdOwner<'_>) -> Option<OpenedId> {
        if id.len() > MAX_ID {
            return None;
        }
        let mut parts = id.splitn(3, '.');
        let (number, tag, sealed) = (parts.next()?, parts.next()?, parts.next()?);
        let expected = tag_of(&self.tag, number, sealed);
        if !bool::from(expected.as_bytes().ct_eq(tag.as_bytes())) {
            return None;
        }
        let mut bytes = BASE64.decode(sealed).ok()?;
        let (nonce, text) = bytes.split_first_chunk_mut::<NONCE_LEN>()?;
        let (nonce, bound) = (Nonce::assume_unique_for_key(*nonce), bound(owner));
        let text = &*self.seal.open_in_place(nonce, Aad::from(bound), text).ok()?;
        let (call, text) = text.split_first_chunk()?;
        let (secret, text) = text.split_first_chunk()?;
        let (grant, node) = match owner {
            IdOwner::Bearer(..) => (None, text),
            IdOwner::Ticket(_) => {
                let (grant, node) = text.split_first_chunk::<GRANT>()?;
                (Some(read_grant(grant)?), node)
            }
        };
        let (number, ended) = match number.strip_suffix('!') {
            Some(number) => (number, true),
            None => (number, false),
        };
        let position = StreamPosition {
            call: *call,
            secret: ResumeSecret(*secret),
            node: str::from_utf8(node).ok()?.to_owned(),
            taken: number.parse().ok()?,
        };
        Some(OpenedId { position, grant, ended })
    }
}

fn read_grant(bytes: &[u8; GRANT]) -> Option<BearerGrant> {
    let (role, bytes) = bytes.split_first()?;
    let (token, generation) = bytes.split_first_chunk()?;
    let role = Role::ALL.into_iter().find(|known| known.code() == *role)?;
    let generation = u64::from_be_bytes(generation.try_into().ok()?);
    Some(BearerGrant { role, token: *token, generation })
}

/// What an id is bound to. Unambiguous: each part is behind its length.
fn bound(owner: IdOwner<'_>) -> Vec<u8> {
    let parts = match owner {
        IdOwner::Bearer(caller, function) => {
            ["bearer", function, caller.role.name(), &caller.identity]
        }
        IdOwner::Ticket(SpentTicket { secret, path, origin }) => {
            ["ticket", secret, path, origin.as_deref().unwrap_or_default()]
        }
    };
    let mut bound = Vec::new();
    for part in parts {
        bound.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bound.extend_from_slice(part.as_bytes());
    }
    bound
}

fn tag_of(key: &hmac::Key, number: &str, sealed: &str) -> String {
    let mut context = hmac::Context::with_key(key);
    context.update(number.as_bytes());
    context.update(b".");
    context.update(sealed.as_bytes());
    BASE64.encode(&context.sign().as_ref()[..TAG])
}

impl StreamId {
    /// Appends the id behind `items` items, or that of the end behind them.
    pub(super) fn put(&self, items: u64, ended: bool, out: &mut Vec<u8>) {
        let number = format!("{items}{}", if ended { "!" } else { "" });
        let tag = tag_of(&self.tag, &number, &self.sealed);
        for part in [&number, ".", &tag, ".", &self.sealed] {
            out.extend_from_slice(part.as_bytes());
        }
    }
}

/// Hides the keys.
impl fmt::Debug for StreamIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamIds(..)")
    }
}

/// Hides the id, which is a secret of its reader.
impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(secret: u8) -> StreamIds {
        StreamIds::new(&Secret::new([secret; 32]))
    }

    fn caller(role: Role, identity: &str) -> Caller {
        let address = "[::1]:1".parse().unwrap();
        Caller { role, id: "http".into(), identity: identity.into(), address }
    }

    fn position(taken: u64) -> StreamPosition {
        let (call, secret) = ([7; 16], ResumeSecret([9; 16]));
        StreamPosition { call, secret, node: "gpu-1".into(), taken }
    }

    fn text(id: &StreamId, items: u64, ended: bool) -> String {
        let mut out = Vec::new();
        id.put(items, ended, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn any_gateway_with_the_key_opens_what_another_has_sealed() {
        let client = caller(Role::Client, "ci");
        let id = ids(1).seal(&position(0), IdOwner::Bearer(&client, "f"), None).unwrap();
        for (items, ended) in [(0, false), (1, false), (u64::MAX, false), (0, true), (5, true)] {
            let text = text(&id, items, ended);
            let opened = ids(1).open(&text, IdOwner::Bearer(&client, "f")).unwrap();
            assert_eq!(opened, OpenedId { position: position(items), grant: None, ended });
            assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && text.len() < 140, "{text}");
            assert_eq!(ids(2).open(&text, IdOwner::Bearer(&client, "f")), None);
            for other in
                [caller(Role::Client, "cj"), caller(Role::Client, ""), caller(Role::Admin, "ci")]
            {
                assert_eq!(ids(1).open(&text, IdOwner::Bearer(&other, "f")), None, "{other:?}");
            }
            for other in ["g", "", "ff"] {
                assert_eq!(ids(1).open(&text, IdOwner::Bearer(&client, other)), None, "{other}");
            }
        }
        let longest = StreamPosition { node: "n".repeat(MAX_NAME), ..position(0) };
        let id = ids(1).seal(&longest, IdOwner::Bearer(&client, "f"), None).unwrap();
        assert!(ids(1).open(&text(&id, u64::MAX, true), IdOwner::Bearer(&client, "f")).is_some());
    }

    #[test]
    fn no_byte_of_an_id_can_be_changed_or_left_out() {
        let client = caller(Role::Client, "ci");
        let id = ids(1).seal(&position(0), IdOwner::Bearer(&client, "f"), None).unwrap();
        let text = text(&id, 4_711, false);
        for at in 0..text.len() {
            assert_eq!(ids(1).open(&text[..at], IdOwner::Bearer(&client, "f")), None, "{at}");
            for other in ["0", "A", ".", "!", "_", ""] {
                let changed = [&text[..at], other, &text[at + 1..]].concat();
                assert_eq!(
                    ids(1).open(&changed, IdOwner::Bearer(&client, "f")).is_some(),
                    changed == text
                );
            }
        }
        // Not even the number alone, nor the end.
        let (_, rest) = text.split_once('.').unwrap();
        for number in ["4712", "4711!", "04711", "+4711", ""] {
            assert_eq!(
                ids(1).open(&format!("{number}.{rest}"), IdOwner::Bearer(&client, "f")),
                None,
                "{number}"
            );
        }
        for odd in ["", "..", "1..", "x", &"1".repeat(1 << 20)] {
            assert_eq!(ids(1).open(odd, IdOwner::Bearer(&client, "f")), None);
        }
    }

    #[test]
    fn what_an_id_is_bound_to_cannot_be_shifted() {
        let bound = |identity, function| {
            let caller = caller(Role::Client, identity);
            bound(IdOwner::Bearer(&caller, function))
        };
        for (identity, function) in [("", "fb"), ("b", ""), ("clientb", "f"), ("f", "b")] {
            assert_ne!(bound("b", "f"), bound(identity, function));
        }
    }

    #[test]
    fn the_id_of_a_ticket_is_good_with_that_ticket_only() {
        let ticket = |secret: &str, path: &str, origin: Option<&str>| SpentTicket {
            secret: secret.to_owned(),
            path: path.to_owned(),
            origin: origin.map(str::to_owned),
        };
        let own = ticket("s", "/stream/f", Some("https://a"));
        let grant = BearerGrant { role: Role::Admin, token: [5; 8], generation: u64::MAX };
        let id = ids(1).seal(&position(0), IdOwner::Ticket(&own), Some(&grant)).unwrap();
        let text = text(&id, 3, false);
        let opened = ids(1).open(&text, IdOwner::Ticket(&own)).unwrap();
        assert_eq!((opened.position, opened.grant), (position(3), Some(grant)));
        for other in [
            ticket("t", "/stream/f", Some("https://a")),
            ticket("s", "/stream/g", Some("https://a")),
            ticket("s", "/stream/f", Some("https://b")),
            ticket("s", "/stream/f", None),
        ] {
            assert_eq!(ids(1).open(&text, IdOwner::Ticket(&other)), None, "{other:?}");
        }
        let client = caller(Role::Admin, "default");
        assert_eq!(ids(1).open(&text, IdOwner::Bearer(&client, "f")), None);
    }

    #[test]
    fn nothing_shows_what_is_sealed() {
        let client = caller(Role::Client, "ci");
        let id = ids(1).seal(&position(0), IdOwner::Bearer(&client, "f"), None).unwrap();
        let sealed = BASE64.decode(&id.sealed).unwrap();
        assert!(!sealed.windows(4).any(|part| part == [9; 4] || part == [7; 4]));
        assert_eq!(format!("{id:?} {:?}", ids(1)), "StreamId(..) StreamIds(..)");
    }
}
