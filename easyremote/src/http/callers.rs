//! The clients through which requests make calls.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::http::asker::Asker;
use crate::transport::auth::identity::Pin;
use crate::transport::auth::ticket::Ticket;
use crate::transport::io::Io;
use crate::wire::control::{Role, TokenId};

/// A client for each token whose bearer has made a call, connected to the gateway over loopback.
///
/// So a call that comes over HTTP is one like any other: the rules, limits and queues of its identity
/// hold for it, it appears wherever calls appear, and it ends when its token is revoked.
#[derive(Debug)]
pub(super) struct Callers {
    /// Where the gateway listens, for who dials it from this machine.
    gateway: SocketAddr,
    /// Bounded by the number of the gateway's valid tokens: only a valid bearer leads here.
    clients: Mutex<HashMap<(Role, TokenId), TokenClient>>,
}

/// The client of one token, which connects for the first call.
#[derive(Debug)]
struct TokenClient {
    client: Arc<OnceCell<Client>>,
    /// Cancelled when the token is revoked.
    revoked: CancellationToken,
}

impl Callers {
    pub(super) fn new(gateway: SocketAddr) -> Self {
        let ip = match gateway.ip() {
            // Listening on every address includes loopback.
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self { gateway: SocketAddr::new(ip, gateway.port()), clients: Mutex::default() }
    }

    /// Returns the client of the token that `asker` has shown a bearer of. Cancel safe.
    ///
    /// # Errors
    /// Those of connecting to the gateway with this `pin`.
    pub(super) async fn client(&self, pin: Pin, asker: &Asker) -> Result<Client, Error> {
        let cell = {
            let mut clients = self.clients.lock();
            clients.retain(|_, kept| !kept.revoked.is_cancelled());
            let kept = clients.entry((asker.caller.role, asker.token.id())).or_insert_with(|| {
                TokenClient { client: Arc::default(), revoked: asker.revoked.clone() }
            });
            kept.client.clone()
        };
        cell.get_or_try_init(|| self.connect(pin, asker)).await.cloned()
    }

    async fn connect(&self, pin: Pin, asker: &Asker) -> Result<Client, Error> {
        let host = match self.gateway.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let (role, token) = (asker.caller.role, asker.token.clone());
        let ticket = Ticket { host, port: self.gateway.port(), pin: Some(pin), role, token };
        // The server's own thread, which nothing blocks.
        let client = Client::builder(ticket).io(Io::Runtime).connect().await;
        client.map_err(|error| match error.kind() {
            ErrorKind::Unauthenticated => error,
            _ => {
                let text = "the HTTP server cannot reach its gateway";
                Error::new(ErrorKind::Unavailable, text).with_source(error)
            }
        })
    }
}
