//! A gateway that keeps no rules, and has the key that its peers expect.

use std::sync::Arc;

use crate::soon;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use ring::digest::{SHA256, digest};
use rustls::pki_types::PrivatePkcs8KeyDer;

use crate::hostile::attacker::ALPN;
use crate::hostile::wire;

pub struct Impostor {
    pub endpoint: Endpoint,
    pin: String,
}

/// A connection of a peer to an impostor.
pub struct Victim {
    pub connection: Connection,
    pub send: SendStream,
    pub recv: RecvStream,
    /// Whether its first stream came with 0-RTT data.
    pub early: bool,
}

impl Impostor {
    pub fn start() -> Self {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let pin = digest(&SHA256, &key.subject_public_key_info());
        let certificate = CertificateParams::new(vec!["gateway.example".to_owned()]).unwrap();
        let certificate = certificate.self_signed(&key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.into()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        // It would like to have early data, and sends as much as it can.
        tls.max_early_data_size = u32::MAX;
        let tls = Arc::new(QuicServerConfig::try_from(tls).unwrap());
        let config = quinn::ServerConfig::with_crypto(tls);
        let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        Self { endpoint, pin: URL_SAFE_NO_PAD.encode(pin) }
    }

    /// What its victims connect with.
    pub fn ticket(&self, prefix: &str) -> String {
        let address = self.endpoint.local_addr().unwrap();
        let token = URL_SAFE_NO_PAD.encode([7; 32]);
        format!("easyremote://{address}?pin={}&token={prefix}{token}", self.pin)
    }

    /// Waits for a victim, up to its hello, which is not looked at.
    pub async fn accept(&self) -> Victim {
        let connecting = soon(self.endpoint.accept()).await.unwrap().accept().unwrap();
        let (connection, _) = connecting.into_0rtt().ok().unwrap();
        let (mut send, mut recv) = soon(connection.accept_bi()).await.unwrap();
        let early = recv.is_0rtt();
        let hello = soon(wire::message(&mut send, &mut recv)).await.unwrap();
        assert_eq!(hello[0], 1);
        Victim { connection, send, recv, early }
    }

    /// Lets a client in, and keeps its heartbeat going.
    pub async fn welcome(&self) -> Connection {
        let Victim { connection, mut send, mut recv, .. } = self.accept().await;
        send.write_all(&welcome()).await.unwrap();
        tokio::spawn(async move { while wire::message(&mut send, &mut recv).await.is_some() {} });
        connection
    }

    /// Lets a node in, whatever it offers, and keeps its heartbeat going.
    pub async fn register(&self) -> Connection {
        let Victim { connection, mut send, mut recv, .. } = self.accept().await;
        assert_eq!(soon(wire::message(&mut send, &mut recv)).await.unwrap()[0], 4);
        send.write_all(&welcome()).await.unwrap();
        send.write_all(&wire::frame(wire::CONTROL, &[5])).await.unwrap();
        tokio::spawn(async move { while wire::message(&mut send, &mut recv).await.is_some() {} });
        connection
    }
}

/// Consent to messages of up to 1 GiB.
pub fn welcome() -> Vec<u8> {
    wire::frame(wire::CONTROL, &[&[2][..], &wire::packed(1 << 29)].concat())
}

/// Waits for the next call of a victim, and reads its header and arguments.
pub async fn next_call(connection: &Connection) -> (SendStream, RecvStream) {
    let (send, mut recv) = soon(connection.accept_bi()).await.unwrap();
    for expected in [wire::HEADER, wire::BODY] {
        assert_eq!(soon(wire::read(&mut recv)).await.unwrap().0, expected);
    }
    (send, recv)
}
