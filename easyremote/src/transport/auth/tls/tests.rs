//! Tests with a man in the middle over real QUIC, who has the gateway's certificate but not its key.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use rcgen::KeyPair;
use rustls::crypto::ring::sign::any_eddsa_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ALPN, Expected, provider};
use crate::error::{Error, ErrorKind};
use crate::transport::auth::address::IntoGateways;
use crate::transport::auth::certificates::ServerCertResolver;
use crate::transport::auth::dial_options::DialOptions;
use crate::transport::auth::identity::{Identity, Pin, SERVER_NAME, pin_of};
use crate::transport::auth::ticket::Ticket;
use crate::transport::dial::Dialler;
use crate::transport::quic::endpoint::{self, Listener};
use crate::wire::control::Role;

/// Presents a certificate, and signs with any key.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}

const ANYWHERE: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Serves connections with `certificate`, signed with `key`; reports for each whether the other end
/// has completed the handshake.
fn impostor(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
) -> (SocketAddr, tokio::task::JoinHandle<bool>) {
    let key = any_eddsa_type(&PrivatePkcs8KeyDer::from(key.serialized_der().to_vec())).unwrap();
    let shown = CertifiedKey::new(vec![certificate], key);
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Shows(Arc::new(shown))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    let config = Arc::new(QuicServerConfig::try_from(config).unwrap());
    let config = quinn::ServerConfig::with_crypto(config);
    let endpoint = quinn::Endpoint::server(config, ANYWHERE.into()).unwrap();
    let address = endpoint.local_addr().unwrap();
    let trusted = tokio::spawn(async move {
        let Some(incoming) = endpoint.accept().await else { return false };
        match incoming.await {
            // The first stream carries the proof of the token.
            Ok(connection) => connection.accept_bi().await.is_ok(),
            Err(_) => false,
        }
    });
    (address, trusted)
}

/// Returns the certificate that the gateway at `address` presents to every peer.
async fn certificate_of(address: SocketAddr, pin: Pin) -> CertificateDer<'static> {
    let endpoint = endpoint::dialling(address, Expected::Pin(pin), None, 0).unwrap();
    let connection = endpoint.connect(address, SERVER_NAME).unwrap().await.unwrap();
    let chain = connection.peer_identity().unwrap();
    chain.downcast::<Vec<CertificateDer<'static>>>().unwrap().remove(0)
}

async fn dial(address: SocketAddr, identity: &Identity) -> Result<(), Error> {
    let ticket = Ticket {
        host: address.ip().to_string(),
        port: address.port(),
        pin: Some(identity.pin()),
        role: Role::Client,
        token: identity.token(Role::Client, "a"),
    };
    let target = ticket.into_gateways().unwrap().targets.remove(0);
    let mut dialler = Dialler::client(target, DialOptions::default(), false).unwrap();
    dialler.dial(Some(Duration::from_secs(10)), |_, _| ()).await.map(|_| ())
}

#[tokio::test]
async fn a_copied_certificate_without_its_key_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(Some(directory.path())).unwrap();
    let shown = Arc::new(ServerCertResolver::new(&identity, None).unwrap());
    let gateway = Listener::bind(ANYWHERE.into(), &identity, shown, false).unwrap();
    let gateway = gateway.endpoint().clone();
    let genuine = gateway.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let connection = gateway.accept().await.unwrap().await.unwrap();
        connection.closed().await;
    });
    let copied = certificate_of(genuine, identity.pin()).await;
    let parsed = rustls::server::ParsedCertificate::try_from(&copied).unwrap();
    assert_eq!(pin_of(&parsed.subject_public_key_info()), identity.pin(), "it is the pinned one");

    let own = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (address, trusted) = impostor(copied.clone(), &own);
    let error = dial(address, &identity).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(!trusted.await.unwrap(), "nothing was said to the impostor");
    accepting.await.unwrap();

    // With the right key the same certificate passes, so it is the key that was missing.
    let (_, key) = identity.certificate().unwrap();
    let key = PrivatePkcs8KeyDer::from(key.secret_der().to_vec());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519).unwrap();
    let (address, trusted) = impostor(copied, &key);
    let dialling = dial(address, &identity);
    tokio::select! {
        trusted = trusted => assert!(trusted.unwrap()),
        outcome = dialling => panic!("an impostor does not answer: {outcome:?}"),
    }
}

#[tokio::test]
async fn another_key_is_not_the_pinned_one() {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [one, two] = directories.each_ref().map(|d| Identity::load_or_create(Some(d.path())));
    let (one, two) = (one.unwrap(), two.unwrap());
    let (certificate, key) = two.certificate().unwrap();
    let key = PrivatePkcs8KeyDer::from(key.secret_der().to_vec());
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519).unwrap();
    let (address, trusted) = impostor(certificate, &key);
    let error = dial(address, &one).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(!trusted.await.unwrap(), "nothing was said to the impostor");
}

#[tokio::test]
async fn a_peers_certificate_without_its_key_does_not_shake_hands() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::load_or_create(Some(directory.path())).unwrap();
    let shown = Arc::new(ServerCertResolver::new(&identity, None).unwrap());
    let gateway = Listener::bind(ANYWHERE.into(), &identity, shown, true).unwrap();
    let gateway = gateway.endpoint().clone();
    let address = gateway.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for _ in 0..2 {
            outcomes.push(gateway.accept().await.unwrap().await.is_ok());
        }
        outcomes
    });
    let [own, other] = [(); 2].map(|()| KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let parameters = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = parameters.self_signed(&own).unwrap().into();
    for key in [own, other] {
        let der = PrivatePkcs8KeyDer::from(key.serialized_der().to_vec());
        let copied = CertifiedKey::new(vec![certificate.clone()], any_eddsa_type(&der).unwrap());
        let expected = Expected::Pin(identity.pin());
        let endpoint = endpoint::dialling(address, expected, Some(copied), 0).unwrap();
        let connection = endpoint.connect(address, SERVER_NAME).unwrap().await;
        drop(connection);
        endpoint.wait_idle().await;
    }
    assert_eq!(accepting.await.unwrap(), [true, false]);
}
