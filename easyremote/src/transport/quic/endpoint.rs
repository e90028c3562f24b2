//! QUIC endpoints, with limits of this library in place of quinn's defaults.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, MtuDiscoveryConfig, TransportConfig, VarInt};
use ring::hmac;
use rustls::sign::CertifiedKey;
#[cfg(feature = "gateway")]
use sysinfo::System;

use crate::error::{Error, ErrorKind};
#[cfg(feature = "gateway")]
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::identity::Identity;
use crate::transport::auth::tls::{self, Expected};
use crate::transport::quic::udp;
use crate::transport::quic::windows::FIRST_WINDOW;
use crate::transport::quinn_ext::congestion::{LenientConfig, SEND_WINDOW};
#[cfg(feature = "gateway")]
use crate::transport::quinn_ext::ids::{StableIds, ThreadShare};
use crate::wire::limits::{IDLE_TIMEOUT, MAX_OVERFLOWS, MAX_STREAM_WINDOW};

/// Streams that a peer keeps open in addition to its calls: the control stream and a multiplexed
/// stream.
const FOR_GOOD: u32 = 2;

/// Maximum number of bytes that a peer may send before it has authenticated.
const UNAUTHENTICATED_WINDOW: u32 = 64 << 10;

/// Maximum packet size on paths within this machine, in bytes of UDP payload.
///
/// A loopback interface carries 16,384 bytes (macOS) or 65,536 (Linux). With 16 KiB per packet,
/// calls cost a sixth less and bulk transfers are twice as fast as with the 1,452 bytes of
/// Ethernet. 64 KiB is hardly better (`benches/README.md`), and would enlarge the buffer of every
/// connection.
const LOCAL_MTU: u16 = 16_384 - 48;

/// Smallest step of the search for it, so large that the first probe already has the maximum size.
///
/// A loopback interface carries the maximum, or is not a loopback interface. With quinn's step of
/// 20 bytes, a connection started with ten probes of 14.5 KB each, which cost a gateway more
/// processor time than its handshake.
const LOCAL_MTU_STEP: u16 = LOCAL_MTU / 2;

/// The gateway's endpoint, or that of one of its threads.
#[cfg(feature = "gateway")]
#[derive(Debug)]
pub(crate) struct Listener {
    endpoint: quinn::Endpoint,
    /// Configuration for peers on this machine.
    local: Arc<quinn::ServerConfig>,
}

/// A bound socket, which becomes the [`Listener`] of the thread that starts it.
#[cfg(feature = "gateway")]
#[derive(Debug)]
pub(crate) struct BoundListener {
    socket: UdpSocket,
    own: EndpointConfig,
    config: quinn::ServerConfig,
    local: Arc<quinn::ServerConfig>,
}

#[cfg(feature = "gateway")]
impl BoundListener {
    /// Binds `threads` sockets at one address, in the order of the threads' indices; with `asks`,
    /// TLS requests certificates of peers. Also returns the address.
    ///
    /// # Errors
    /// `Unavailable` if the address cannot be bound.
    pub(crate) fn bind(
        address: SocketAddr,
        threads: u8,
        identity: &Identity,
        shown: Arc<ServerCertResolver>,
        asks: bool,
    ) -> Result<(Vec<Self>, SocketAddr), Error> {
        // One configuration for all threads: they share the key of Retry tokens.
        let mut config = quinn::ServerConfig::with_crypto(tls::server(shown, asks)?);
        // Limits for peers that wait to be accepted, which happens at once; quinn's defaults are
        // 65,536 peers and 100 MiB.
        config
            .max_incoming(1_024)
            .incoming_buffer_size(64 << 10)
            .incoming_buffer_size_total((16 << 20) / u64::from(threads));
        let mut local = config.clone();
        local.transport_config(Arc::new(listening_transport(Path::Local)));
        config.transport_config(Arc::new(listening_transport(Path::Network)));
        let local = Arc::new(local);
        let failed = |error| error_at(&format!("cannot listen on `{address}`"), error);
        let sockets = udp::bind_all(address, threads).map_err(failed)?;
        let bound = sockets.first().map_or(Ok(address), UdpSocket::local_addr).map_err(failed)?;
        let listeners = sockets.into_iter().zip(0..).map(|(socket, index)| {
            let share = ThreadShare { index, count: threads };
            let mut own = stable_config(identity, bound, share);
            accept_packets(&mut own, Path::Local);
            Self { socket, own, config: config.clone(), local: local.clone() }
        });
        Ok((listeners.collect(), bound))
    }

    /// Starts to listen. Call this on the I/O thread.
    ///
    /// # Errors
    /// `Unavailable` if the operating system provides no events for the socket.
    pub(crate) fn start(self) -> Result<Listener, Error> {
        let Self { socket, own, config, local } = self;
        let endpoint = endpoint(socket, own, Some(config))
            .map_err(|error| error_at("cannot listen on a bound socket", error))?;
        Ok(Listener { endpoint, local })
    }
}

#[cfg(feature = "gateway")]
impl Listener {
    /// Binds and starts the listener of a gateway with one thread.
    #[cfg(test)]
    pub(crate) fn bind(
        address: SocketAddr,
        identity: &Identity,
        shown: Arc<ServerCertResolver>,
        asks: bool,
    ) -> Result<Self, Error> {
        let (mut bound, _) = BoundListener::bind(address, 1, identity, shown, asks)?;
        bound.remove(0).start()
    }

    pub(crate) fn endpoint(&self) -> &quinn::Endpoint {
        &self.endpoint
    }

    /// Starts the handshake with a peer.
    ///
    /// # Errors
    /// Its first packet was invalid.
    pub(crate) fn accept(
        &self,
        incoming: quinn::Incoming,
    ) -> Result<quinn::Connecting, quinn::ConnectionError> {
        match Path::between(incoming.local_ip(), incoming.remote_address().ip()) {
            Path::Local => incoming.accept_with(self.local.clone()),
            Path::Network => incoming.accept(),
        }
    }
}

/// The path that the packets of a connection take.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Path {
    /// Within this machine.
    Local,
    Network,
}

impl Path {
    fn between(local: Option<IpAddr>, remote: IpAddr) -> Self {
        // On a dual-stack socket, IPv4 addresses appear as IPv6 ones.
        let remote = remote.to_canonical();
        match remote.is_loopback() || local.is_some_and(|local| local.to_canonical() == remote) {
            true => Self::Local,
            false => Self::Network,
        }
    }

    /// Returns the path that the operating system selects for packets to `remote`.
    fn to(remote: SocketAddr) -> Self {
        let local = || {
            let socket = UdpSocket::bind(unspecified(remote)).ok()?;
            // Sends nothing; only looks up the route.
            socket.connect(remote).ok()?;
            Some(socket.local_addr().ok()?.ip())
        };
        Self::between(local(), remote.ip())
    }
}

/// Opens an endpoint to dial a gateway at `remote`, which is authenticated as `expected` and may
/// open `streams` calls at this end. `own` is the certificate to present on request.
pub(crate) fn dialling(
    remote: SocketAddr,
    expected: Expected,
    own: Option<CertifiedKey>,
    streams: u32,
) -> Result<quinn::Endpoint, Error> {
    let path = Path::to(remote);
    let mut config = EndpointConfig::default();
    accept_packets(&mut config, path);
    let mut endpoint = udp::bind(unspecified(remote))
        .and_then(|socket| endpoint(socket, config, None))
        .map_err(|error| error_at("cannot open a UDP socket", error))?;
    let mut config = quinn::ClientConfig::new(tls::client(expected, own)?);
    config.transport_config(Arc::new(dialling_transport(path, streams)));
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Returns the unspecified address of the family of `remote`, with port 0.
fn unspecified(remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// Raises the limits of an authenticated client, so that it can make calls.
pub(crate) fn admit_client(connection: &quinn::Connection, calls: u32) -> Allowance {
    connection.set_receive_window(varint(FIRST_WINDOW));
    Allowance::new(connection, calls)
}

/// Raises the limits of an authenticated node, so that it can answer calls and make calls of its
/// functions.
pub(crate) fn admit_node(connection: &quinn::Connection, calls: u32) -> Allowance {
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(MAX_OVERFLOWS));
    connection.set_receive_window(varint(FIRST_WINDOW));
    Allowance::new(connection, calls)
}

/// The limit on a peer's open calls: small at first, and raised up to `most` as the peer uses it.
///
/// quinn reserves memory for each stream that a peer may open, about 100 kB for all of them, and
/// most peers never have many calls open.
#[derive(Debug)]
pub(crate) struct Allowance {
    connection: quinn::Connection,
    calls: u32,
    most: u32,
}

impl Allowance {
    /// Initial limit; a burst of 1,024 calls needs three more round trips than without it.
    const FIRST: u32 = 128;

    fn new(connection: &quinn::Connection, most: u32) -> Self {
        let calls = Self::FIRST.min(most);
        connection.set_max_concurrent_bi_streams(credit(calls, FOR_GOOD));
        Self { connection: connection.clone(), calls, most }
    }

    /// Records how many calls are open; raises the limit before it is reached.
    pub(crate) fn note(&mut self, open: usize) {
        if open > self.calls as usize / 2 && self.calls < self.most {
            self.calls = (self.calls * 2).min(self.most);
            self.connection.set_max_concurrent_bi_streams(credit(self.calls, FOR_GOOD));
        }
    }
}

/// Returns the limit to announce so that a peer can always have `calls` open, in addition to `more`
/// long-lived streams.
///
/// quinn announces closed streams only once they exceed an eighth of the limit, so that up to an
/// eighth of it is temporarily unusable.
fn credit(calls: u32, more: u32) -> VarInt {
    let calls = match calls {
        0 => 0,
        _ => calls.saturating_add(calls / 7 + 2),
    };
    VarInt::from_u32(calls.saturating_add(more))
}

fn varint(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}

fn common_transport(path: Path) -> TransportConfig {
    let mut config = TransportConfig::default();
    if path == Path::Local {
        // Found by a probe, as on any path (RFC 8899): a proxy may carry less.
        let mut discovery = MtuDiscoveryConfig::default();
        discovery.upper_bound(LOCAL_MTU).minimum_change(LOCAL_MTU_STEP);
        config.mtu_discovery_config(Some(discovery));
        // quinn passes up to ten packets to one system call, which is limited to 64 KiB in total.
        config.enable_segmentation_offload(false);
    }
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        // The maximum window of a stream; see `quic::windows` for its initial size.
        .stream_receive_window(varint(MAX_STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        .congestion_controller_factory(Arc::new(LenientConfig::default()))
        .max_idle_timeout(quinn::IdleTimeout::try_from(IDLE_TIMEOUT).ok());
    config
}

fn listening_transport(path: Path) -> TransportConfig {
    let mut config = common_transport(path);
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .receive_window(VarInt::from_u32(UNAUTHENTICATED_WINDOW));
    config
}

fn dialling_transport(path: Path, streams: u32) -> TransportConfig {
    let mut config = common_transport(path);
    config
        // In addition to calls, the gateway has a multiplexed stream at a node. At a client it
        // opens nothing.
        .max_concurrent_bidi_streams(credit(streams, streams.min(1)))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_OVERFLOWS))
        .receive_window(varint(FIRST_WINDOW));
    config
}

/// Makes an endpoint accept packets of the maximum size for `path`.
fn accept_packets(config: &mut EndpointConfig, path: Path) {
    if path == Path::Local
        && let Err(error) = config.max_udp_payload_size(LOCAL_MTU)
    {
        // Cannot fail: the size is within the bounds of RFC 9000, section 18.2.
        tracing::debug!(%error, "cannot raise the maximum packet size");
    }
}

#[cfg(feature = "gateway")]
/// Returns a configuration with keys that a gateway at `address` keeps across restarts. A peer that
/// was connected to an earlier process then gets a stateless reset (RFC 9000, section 10.3) for its
/// next packet: the new process recognises the connection id as one of its own, and can compute the
/// token that the peer expects.
///
/// Gateways with the same identity file have different keys, as section 21.11 requires: otherwise
/// one of them would reveal the tokens that end the other's connections. The threads of one gateway
/// share them: a peer of an earlier process may arrive at any thread.
fn stable_config(identity: &Identity, address: SocketAddr, share: ThreadShare) -> EndpointConfig {
    let place = place(address);
    let reset_key = identity.derive(&format!("stateless reset {place}"));
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, reset_key.expose());
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    let id_key = identity.derive(&format!("connection ids {place}"));
    config.cid_generator(move || Box::new(StableIds::new(id_key.expose(), share)));
    // Many peers may have to be notified; quinn's default is one reset per 20 ms.
    config.min_reset_interval(Duration::from_millis(1));
    config
}

#[cfg(feature = "gateway")]
/// Returns a name that no other running gateway has: its address, and the host name if that is the
/// unspecified address. If the host name changes between two processes, peers only detect the
/// restart later.
fn place(address: SocketAddr) -> String {
    match address.ip().is_unspecified() {
        true => format!("{address} {}", System::host_name().unwrap_or_default()),
        false => address.to_string(),
    }
}

fn endpoint(
    socket: UdpSocket,
    config: EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> std::io::Result<quinn::Endpoint> {
    #[cfg(unix)]
    let runtime = crate::transport::quinn_ext::socket::Runtime::current();
    #[cfg(not(unix))]
    let runtime = quinn::TokioRuntime;
    quinn::Endpoint::new(config, server, socket, Arc::new(runtime))
}

fn error_at(what: &str, error: std::io::Error) -> Error {
    let text = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("{what}: the port is taken"),
        _ => what.to_owned(),
    };
    Error::new(ErrorKind::Unavailable, text).with_source(error)
}

#[cfg(all(test, feature = "gateway"))]
mod tests {
    use super::*;
    use crate::transport::auth::identity::SERVER_NAME;

    #[test]
    fn paths_that_end_where_they_begin_are_local() {
        let path = |local: &str, remote: &str| {
            Path::between(Some(local.parse().unwrap()), remote.parse().unwrap())
        };
        for (local, remote) in [
            ("127.0.0.1", "127.0.0.2"),
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "::ffff:192.0.2.1"),
        ] {
            assert_eq!(path(local, remote), Path::Local, "{local} {remote}");
        }
        assert_eq!(path("192.0.2.1", "192.0.2.2"), Path::Network);
        assert_eq!(path("2001:db8::1", "2001:db8::2"), Path::Network);
        assert_eq!(Path::between(None, Ipv6Addr::LOCALHOST.into()), Path::Local);
        assert_eq!(Path::to((Ipv4Addr::LOCALHOST, 1).into()), Path::Local);
    }

    /// Returns a gateway's answer to a packet of an unknown connection.
    fn token(identity: &Identity, address: &str, id: &[u8]) -> [u8; 32] {
        let key = identity.derive(&format!("stateless reset {}", place(address.parse().unwrap())));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        hmac::sign(&key, id).as_ref().try_into().unwrap()
    }

    #[test]
    fn gateways_with_one_identity_have_keys_of_their_own() {
        let (one, two) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        let mut tokens = std::collections::HashSet::new();
        for address in
            ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.2:1", "[::1]:1", "0.0.0.0:1", "[::]:1"]
        {
            assert!(tokens.insert(token(&one, address, b"id")), "{address}");
            assert!(tokens.insert(token(&two, address, b"id")), "{address}");
            assert_eq!(token(&one, address, b"id"), token(&one, address, b"id"));
        }
    }

    #[tokio::test]
    async fn packets_grow_at_once_where_none_leaves_the_machine() {
        let identity = Identity::generate().unwrap();
        let shown = Arc::new(ServerCertResolver::new(&identity, None).unwrap());
        let anywhere = (Ipv4Addr::LOCALHOST, 0).into();
        let listener = Listener::bind(anywhere, &identity, shown, false).unwrap();
        let address = listener.endpoint().local_addr().unwrap();
        let dialling = dialling(address, Expected::Pin(identity.pin()), None, 0).unwrap();
        let accepting = async {
            let incoming = listener.endpoint().accept().await.unwrap();
            listener.accept(incoming).unwrap().await.unwrap()
        };
        let connecting = dialling.connect(address, SERVER_NAME).unwrap();
        let (accepted, dialled) = tokio::join!(accepting, connecting);
        let dialled = dialled.unwrap();
        let (mut send, mut recv) = dialled.open_bi().await.unwrap();
        let echo = async {
            let (mut send, mut recv) = accepted.accept_bi().await.unwrap();
            while let Some(chunk) = recv.read_chunk(64, true).await.unwrap() {
                send.write_chunk(chunk.bytes).await.unwrap();
            }
        };
        let asking = async {
            let grown = |connection: &quinn::Connection| {
                LOCAL_MTU - connection.stats().path.current_mtu < 100
            };
            // Each probe is sent together with data.
            while !grown(&dialled) || !grown(&accepted) {
                send.write_all(&[7]).await.unwrap();
                recv.read_exact(&mut [0]).await.unwrap();
            }
        };
        let asked = async {
            tokio::select! {
                () = echo => unreachable!("it is not ended"),
                () = asking => {}
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap();
        for connection in [&dialled, &accepted] {
            let path = connection.stats().path;
            let (probes, lost) = (path.sent_plpmtud_probes, path.lost_plpmtud_probes);
            assert_eq!(probes - lost, 1, "a probe costs as much as a handshake");
        }
    }
}
