//! Peers of a gateway that keep no rules, with valid credentials and without.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::soon;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};

use crate::hostile::wire;

pub const ALPN: &[u8] = b"easyremote/1";

/// A connection of an attacker, and where it comes from.
pub struct Attacker {
    pub endpoint: Endpoint,
    pub connection: Connection,
}

/// One that the gateway has let in. Its heartbeat goes on.
pub struct Insider {
    _endpoint: Endpoint,
    pub connection: Connection,
}

/// TLS that believes everyone.
pub fn tls() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

pub fn config(transport: TransportConfig) -> quinn::ClientConfig {
    let tls = QuicClientConfig::try_from(tls()).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(tls));
    config.transport_config(Arc::new(transport));
    config
}

/// An endpoint at this address of the loopback network, such as `127.0.0.2`.
pub fn endpoint_at(address: &str) -> Endpoint {
    Endpoint::client(format!("{address}:0").parse().unwrap()).unwrap()
}

pub async fn connect(
    endpoint: &Endpoint,
    gateway: SocketAddr,
    transport: TransportConfig,
) -> Result<Connection, quinn::ConnectionError> {
    soon(endpoint.connect_with(config(transport), gateway, "gateway").unwrap()).await
}

impl Attacker {
    /// Completes a handshake, and proves nothing.
    pub async fn connect(gateway: SocketAddr) -> Self {
        let endpoint = endpoint_at("127.0.0.1");
        let connection = connect(&endpoint, gateway, TransportConfig::default()).await.unwrap();
        Self { endpoint, connection }
    }

    /// Proves who it is with `ticket`; `None` if the gateway does not let it in.
    pub async fn prove(self, ticket: &str, id: impl AsRef<[u8]>) -> Option<Insider> {
        let Self { endpoint, connection } = self;
        let (mut send, mut recv) = soon(connection.open_bi()).await.ok()?;
        let (role, token) = token(ticket);
        send.write_all(&wire::hello(&connection, role, &token, id)).await.ok()?;
        let welcome = soon(wire::message(&mut send, &mut recv)).await?;
        (welcome[0] == 2).then(|| {
            tokio::spawn(
                async move { while wire::message(&mut send, &mut recv).await.is_some() {} },
            );
            Insider { _endpoint: endpoint, connection }
        })
    }

    /// Why the gateway has closed the connection: the kind and the text.
    pub async fn end(&self) -> (u64, String) {
        close_of(&self.connection).await
    }
}

impl Insider {
    /// One with the rights of a client.
    pub async fn client(gateway: SocketAddr, ticket: &str) -> Self {
        Attacker::connect(gateway).await.prove(ticket, "").await.unwrap()
    }

    /// One whose streams take only so many bytes that it does not read.
    pub async fn that_reads(gateway: SocketAddr, ticket: &str, window: u32) -> Self {
        let endpoint = endpoint_at("127.0.0.1");
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(window));
        let connection = connect(&endpoint, gateway, transport).await.unwrap();
        Attacker { endpoint, connection }.prove(ticket, "").await.unwrap()
    }

    /// One that is a node and offers `functions`. Its calls are its own business.
    pub async fn node(gateway: SocketAddr, ticket: &str, functions: &[(&str, u8)]) -> Self {
        let endpoint = endpoint_at("127.0.0.1");
        let mut transport = TransportConfig::default();
        // It takes little of each call that it does not read.
        transport.stream_receive_window(VarInt::from_u32(64 << 10));
        transport.max_concurrent_bidi_streams(VarInt::from_u32(4_096));
        let connection = connect(&endpoint, gateway, transport).await.unwrap();
        let (mut send, mut recv) = soon(connection.open_bi()).await.unwrap();
        let (role, token) = token(ticket);
        send.write_all(&wire::hello(&connection, role, &token, "hostile")).await.unwrap();
        send.write_all(&wire::register(functions)).await.unwrap();
        for expected in [2, 5] {
            let message = soon(wire::message(&mut send, &mut recv)).await.unwrap();
            assert_eq!(message[0], expected);
        }
        tokio::spawn(async move { while wire::message(&mut send, &mut recv).await.is_some() {} });
        Self { _endpoint: endpoint, connection }
    }

    /// Opens a stream and writes `bytes`.
    pub async fn open(&self, bytes: &[u8]) -> (SendStream, RecvStream) {
        let (mut send, recv) = soon(self.connection.open_bi()).await.unwrap();
        soon(send.write_all(bytes)).await.unwrap();
        (send, recv)
    }

    /// Makes a call by the rules, with JSON arguments, and reads the answer.
    pub async fn call(&self, function: &str, arguments: &str) -> Option<wire::Frame> {
        let header = wire::call(function, wire::UNARY);
        let bytes = [header, wire::frame(wire::BODY, arguments.as_bytes())].concat();
        let (mut send, mut recv) = self.open(&bytes).await;
        send.finish().unwrap();
        soon(wire::read(&mut recv)).await
    }
}

/// The first packet of a handshake with a gateway.
pub async fn first_packet() -> Vec<u8> {
    let nobody = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint_at("127.0.0.1");
    let config = config(quinn::TransportConfig::default());
    let address = nobody.local_addr().unwrap();
    let _connecting = endpoint.connect_with(config, address, "gateway").unwrap();
    let mut packet = vec![0; 2_000];
    let length = soon(nobody.recv(&mut packet)).await.unwrap();
    packet.truncate(length);
    packet
}

/// Role and token of a ticket.
pub fn token(ticket: &str) -> (&'static str, Vec<u8>) {
    let (_, token) = ticket.split_once("&token=").unwrap();
    let (prefix, token) = token.split_at(4);
    let role = if prefix == "ern_" { "node" } else { "client" };
    (role, URL_SAFE_NO_PAD.decode(token).unwrap())
}

/// Why the other end has closed the connection: the kind and the text.
pub async fn close_of(connection: &Connection) -> (u64, String) {
    match soon(connection.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            (close.error_code.into_inner() / 4, reason)
        }
        other => panic!("closed by {other}"),
    }
}

/// Believes every certificate, and checks that its owner holds the key, without which there would
/// be no handshake.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}
