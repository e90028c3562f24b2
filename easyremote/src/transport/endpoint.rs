//! UDP sockets and QUIC endpoints, with this library's limits instead of quinn's defaults.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use ring::hmac;
use rustls::sign::CertifiedKey;
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Error, ErrorKind};
use crate::transport::certificates::Shown;
use crate::transport::identity::Identity;
use crate::transport::tls::{self, Expected};
use crate::wire::limits::{
    IDLE_TIMEOUT, MAX_CLIENT_STREAMS, MAX_MOVED, MAX_NODE_STREAMS, STREAM_WINDOW,
};

/// Size of a socket's buffers, each way: with the common default of 208 KiB the kernel drops
/// packets whenever a few megabytes are under way.
const SOCKET_BUFFER: usize = 4 << 20;

/// Streams that a peer has open beside its calls: the control stream and a lane.
const FOR_GOOD: u32 = 2;

/// What a peer may send in all before it has proven who it is, in bytes.
const UNAUTHENTICATED_WINDOW: u32 = 64 << 10;

/// Bytes that quinn keeps per connection until they are acknowledged.
const SEND_WINDOW: u64 = 16 << 20;

/// Binds the gateway's endpoint, which `asks` for certificates of peers, or not. To be called on its I/O thread.
///
/// # Errors
/// `Unavailable` if the address cannot be had.
pub(crate) fn listen(
    address: SocketAddr,
    identity: &Identity,
    shown: Arc<Shown>,
    asks: bool,
) -> Result<quinn::Endpoint, Error> {
    let mut config = quinn::ServerConfig::with_crypto(tls::server(shown, asks)?);
    config.transport_config(Arc::new(listening_transport()));
    // Packets of peers that wait to be accepted, which they are at once; quinn's defaults are 65,536
    // peers and 100 MiB.
    config.max_incoming(1_024).incoming_buffer_size(64 << 10).incoming_buffer_size_total(16 << 20);
    endpoint(address, stable_config(identity), Some(config))
        .map_err(|error| error_at(&format!("cannot listen on `{address}`"), error))
}

/// Opens an endpoint that dials addresses of the family of `remote`.
pub(crate) fn dialling(remote: SocketAddr) -> Result<quinn::Endpoint, Error> {
    let local: SocketAddr = match remote {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    endpoint(local, EndpointConfig::default(), None)
        .map_err(|error| error_at("cannot open a UDP socket", error))
}

/// How to dial a gateway that is known like this, with this certificate if it asks for one, if it
/// may open `streams` calls here. Calls are
/// made in the other direction too, also by a node.
pub(crate) fn client_config(
    expected: Expected,
    own: Option<CertifiedKey>,
    streams: u32,
) -> Result<quinn::ClientConfig, Error> {
    let mut config = quinn::ClientConfig::new(tls::client(expected, own)?);
    config.transport_config(Arc::new(dialling_transport(streams)));
    Ok(config)
}

/// Lets a client, once it has proven who it is, open its calls.
pub(crate) fn admit_client(connection: &quinn::Connection, calls: u32) {
    connection.set_max_concurrent_bi_streams(credit(calls, FOR_GOOD));
    connection.set_receive_window(receive_window(calls));
}

/// Lets a node, once it has proven who it is, answer calls, and make those of its functions.
pub(crate) fn admit_node(connection: &quinn::Connection, calls: u32) {
    connection.set_max_concurrent_bi_streams(credit(calls, FOR_GOOD));
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(MAX_MOVED));
    connection.set_receive_window(receive_window(MAX_NODE_STREAMS + calls + MAX_MOVED));
}

/// The limit to announce so that a peer can always have `calls` open, and `more` for good.
///
/// quinn tells its peer of streams that are closed only when they are more than an eighth of the
/// limit, so that up to an eighth of it is of no use at times.
fn credit(calls: u32, more: u32) -> VarInt {
    let calls = match calls {
        0 => 0,
        _ => calls.saturating_add(calls / 7 + 2),
    };
    VarInt::from_u32(calls.saturating_add(more))
}

/// Room for as many full stream windows as there can be calls: however many of them nobody reads,
/// the others go on, and so does the heartbeat.
///
/// As with streams, quinn tells its peer of what has been read only when it is an eighth of the whole,
/// so that there has to be a seventh more.
fn receive_window(calls: u32) -> VarInt {
    let streams = credit(calls, FOR_GOOD).into_inner();
    let unread = streams * u64::from(STREAM_WINDOW);
    VarInt::from_u64(unread + unread / 7 + 8).unwrap_or(VarInt::MAX)
}

fn common_transport() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        .max_idle_timeout(quinn::IdleTimeout::try_from(IDLE_TIMEOUT).ok());
    config
}

fn listening_transport() -> TransportConfig {
    let mut config = common_transport();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .receive_window(VarInt::from_u32(UNAUTHENTICATED_WINDOW));
    config
}

fn dialling_transport(streams: u32) -> TransportConfig {
    let mut config = common_transport();
    config
        // Beside the calls, the gateway has a lane open at a node; at a client it opens nothing.
        .max_concurrent_bidi_streams(credit(streams, streams.min(1)))
        .max_concurrent_uni_streams(VarInt::from_u32(MAX_MOVED))
        .receive_window(receive_window(streams + MAX_CLIENT_STREAMS + MAX_MOVED));
    config
}

/// Keys that a gateway keeps over restarts. A peer that was connected to an earlier process then
/// gets a stateless reset (RFC 9000, section 10.3) for its next packet: the new process recognises
/// the connection id as one of its own making, and can make the token that the peer expects.
fn stable_config(identity: &Identity) -> EndpointConfig {
    let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &identity.derive("stateless reset"));
    let mut config = EndpointConfig::new(Arc::new(reset_key));
    let id_key = identity.derive("connection ids");
    let id_key = id_key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(id_key)));
    // Many peers may have to be told; quinn's default is one each 20 ms.
    config.min_reset_interval(Duration::from_millis(1));
    config
}

fn endpoint(
    local: SocketAddr,
    config: EndpointConfig,
    server: Option<quinn::ServerConfig>,
) -> std::io::Result<quinn::Endpoint> {
    quinn::Endpoint::new(config, server, bind(local)?, Arc::new(TokioRuntime))
}

fn bind(local: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    if local.is_ipv6() && local.ip().is_unspecified() {
        // Reach, and be reached by, IPv4 peers as well; some systems only do one.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "the IPv6 socket does not carry IPv4");
        }
    }
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    // Linux reports twice what it grants, for its own book-keeping (socket(7)).
    let share = if cfg!(target_os = "linux") { 2 } else { 1 };
    let granted = socket.recv_buffer_size()?.min(socket.send_buffer_size()?) / share;
    if granted < SOCKET_BUFFER {
        tracing::warn!(
            granted,
            wanted = SOCKET_BUFFER,
            "small UDP buffers make large messages slower; on Linux, raise net.core.rmem_max and \
             net.core.wmem_max"
        );
    }
    socket.bind(&local.into())?;
    Ok(socket.into())
}

fn error_at(what: &str, error: std::io::Error) -> Error {
    let text = match error.kind() {
        std::io::ErrorKind::AddrInUse => format!("{what}: the port is taken"),
        _ => format!("{what}: {error}"),
    };
    Error::new(ErrorKind::Unavailable, text).with_source(error)
}
