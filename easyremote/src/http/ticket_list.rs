//! Tickets that have been issued and not been used: each opens one stream without a bearer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use parking_lot::Mutex;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind};
use crate::http::asker::Asker;
use crate::transport::auth::bearer::Bearer;
use crate::transport::auth::identity::random;

/// What a ticket opens.
#[derive(Clone, Debug)]
pub(super) struct StreamTicket {
    /// With whose rights the stream is opened, and the bearer that has to be valid then.
    pub(super) asker: Arc<Asker>,
    pub(super) bearer: Bearer,
    /// Origin of the page that asked for the ticket, if it was one of another site.
    pub(super) origin: Option<String>,
    pub(super) function: String,
    pub(super) arguments: Box<RawValue>,
    /// Operators, as in the query of a stream.
    pub(super) query: String,
    /// Options of the call.
    pub(super) options: HeaderMap,
}

/// How long a ticket may be used.
pub(super) const LIFETIME: Duration = Duration::from_secs(60);

/// Most tickets that wait to be used, and those of one identity.
const MAX_TICKETS: usize = 1_024;
const MAX_OF_ONE: usize = 64;

/// The tickets of one server. They end with it.
#[derive(Debug, Default)]
pub(super) struct TicketList {
    /// By the hash of the secret: how long a search takes tells nothing of the secret itself.
    list: Mutex<HashMap<[u8; SHA256_OUTPUT_LEN], (StreamTicket, Instant)>>,
}

impl TicketList {
    /// Adds a ticket. Returns its secret.
    ///
    /// # Errors
    /// `Overloaded` if too many wait to be used.
    pub(super) fn add(&self, ticket: StreamTicket) -> Result<String, Error> {
        let (now, mut list) = (Instant::now(), self.list.lock());
        list.retain(|_, (_, end)| *end > now);
        let identity = &ticket.asker.caller.identity;
        let own = list.values().filter(|(it, _)| it.asker.caller.identity == *identity).count();
        if list.len() >= MAX_TICKETS || own >= MAX_OF_ONE {
            let text = "too many tickets wait to be used";
            return Err(Error::new(ErrorKind::Overloaded, text).with_retry_after(LIFETIME));
        }
        let secret = BASE64.encode(random::<32>()?);
        list.insert(hash(&secret), (ticket, now + LIFETIME));
        Ok(secret)
    }

    /// Takes the ticket with this secret, which is spent then.
    pub(super) fn take(&self, secret: &str) -> Option<StreamTicket> {
        let (ticket, end) = self.list.lock().remove(&hash(secret))?;
        (end > Instant::now()).then_some(ticket)
    }
}

fn hash(secret: &str) -> [u8; SHA256_OUTPUT_LEN] {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
    hash
}
